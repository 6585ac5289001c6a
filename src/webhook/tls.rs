//! How receivers prove who they are.
//!
//! Builds the one TLS configuration of the client: TLS 1.2 or newer, the public authorities plus an
//! optional file of the operator's own, HTTP/1.1 only. There is no way to switch verification off.
//! Called by `app` once for each shard, so that no two shards share a session cache's lock.

use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::WebhookError;

/// Sessions kept for resumption: rustls keeps 8 a host and its default is good for 32 hosts only,
/// where a resumed handshake costs half of a full one. This holds 4096 hosts, as many as the pool
/// holds idle links.
const SESSIONS: usize = 8 * 4096;

/// The TLS configuration for every receiver. `ca_file` is `egress.ca_file`.
///
/// # Errors
/// When the file cannot be read, holds no certificate, or holds one that cannot be a trust anchor.
pub fn client_config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, WebhookError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = ca_file {
        for certificate in read_certificates(path)? {
            roots.add(certificate)?;
        }
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    Ok(Arc::new(config))
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, WebhookError> {
    let unreadable = |source| WebhookError::CaFile { path: path.into(), source };
    let certificates = CertificateDer::pem_file_iter(path)
        .map_err(unreadable)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(unreadable)?;
    if certificates.is_empty() {
        return Err(WebhookError::NoCertificate { path: path.into() });
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file_of(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn only_http_1_1_is_offered() {
        let config = client_config(None).unwrap();

        assert_eq!(config.alpn_protocols, [b"http/1.1"]);
    }

    #[test]
    fn an_operators_authority_is_added() {
        let authority = rcgen::generate_simple_self_signed(vec!["ca".into()]).unwrap();
        let file = file_of(&authority.cert.pem());

        assert!(client_config(Some(file.path())).is_ok());
    }

    #[test]
    fn a_file_without_a_certificate_is_refused() {
        for text in ["", "no certificate", "-----BEGIN CERTIFICATE-----\n????\n"] {
            let file = file_of(text);
            assert!(client_config(Some(file.path())).is_err(), "{text:?}");
        }
        assert!(client_config(Some(Path::new("/nonexistent/ca.pem"))).is_err());
    }
}
