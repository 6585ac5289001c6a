//! The receiver's certificates: an authority of its own and a leaf for this machine's loopback addresses.
//!
//! Makes both anew in memory and never stores a key, so that its PEM can be trusted through `egress.ca_file` for a
//! run without giving anybody a lasting power. Used by the [`Receiver`](super::Receiver) and by whoever starts one.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;

use super::ReceiverError;

/// The names that every leaf is good for.
const NAMES: [&str; 3] = ["127.0.0.1", "::1", "localhost"];

/// Certificates begin long ago, so that a machine whose clock is wrong can still run the demo.
const VALID_FROM_YEAR: i32 = 2020;

/// And end late: a run is shorter, and the key dies with the process.
const VALID_UNTIL_YEAR: i32 = 2100;

/// One ticket after a handshake is enough: a client that comes back with it costs half as much.
const TLS13_TICKETS: usize = 1;

/// A certificate authority that lives as long as its value. Several receivers may share one.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// Makes a key and a certificate.
    ///
    /// # Errors
    /// [`ReceiverError::Certificate`] where the cryptography refuses.
    pub fn generate() -> Result<Self, ReceiverError> {
        let mut params = valid_for_long(CertificateParams::default());
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params.distinguished_name.push(DnType::CommonName, "Barnabas test authority");
        Ok(Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate()?)? })
    }

    /// The certificate for `egress.ca_file`.
    #[must_use]
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Writes [`pem`](Self::pem) to a file, replacing what is there.
    ///
    /// # Errors
    /// [`ReceiverError::CaFile`] where the file cannot be written.
    pub fn write_pem(&self, path: &Path) -> Result<(), ReceiverError> {
        std::fs::write(path, self.pem())
            .map_err(|source| ReceiverError::CaFile { path: path.to_owned(), source })
    }

    /// What a server at `address` needs: a leaf of this authority, TLS 1.2 and 1.3, HTTP/1.1 only.
    pub(super) fn server_config(&self, address: IpAddr) -> Result<ServerConfig, ReceiverError> {
        let mut params = valid_for_long(CertificateParams::new(NAMES.map(str::to_owned).to_vec())?);
        let own_name = SanType::IpAddress(address);
        if !address.is_unspecified() && !params.subject_alt_names.contains(&own_name) {
            params.subject_alt_names.push(own_name);
        }
        params.distinguished_name.push(DnType::CommonName, "Barnabas test receiver");
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let leaf = params.signed_by(&key, &self.issuer)?;
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());

        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.ticketer = aws_lc_rs::Ticketer::new()?;
        config.send_tls13_tickets = TLS13_TICKETS;
        Ok(config)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

fn valid_for_long(mut params: CertificateParams) -> CertificateParams {
    params.not_before = date_time_ymd(VALID_FROM_YEAR, 1, 1);
    params.not_after = date_time_ymd(VALID_UNTIL_YEAR, 1, 1);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pem_is_written_as_it_is_told() {
        let authority = Authority::generate().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        authority.write_pem(&path).unwrap();
        let written = std::fs::read_to_string(&path).unwrap();
        assert_eq!(written, authority.pem());
        assert!(written.starts_with("-----BEGIN CERTIFICATE-----"));
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let authority = Authority::generate().unwrap();
        let error = authority.write_pem(Path::new("/nowhere/ca.pem")).unwrap_err();
        assert!(error.to_string().contains("/nowhere/ca.pem"), "{error}");
    }
}
