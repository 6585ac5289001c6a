//! Takes secrets out of what was sent and what came back, before anybody may see it.
//!
//! The request's `Authorization` and the values of its URL's query are masked. An endpoint may send our credentials
//! back, in a header or its body; so they are looked for there, in the forms in which they were sent. Cookies and
//! tokens of the endpoint's own are left out. The attempt log and the test send call it.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use memchr::memmem;

use crate::engine::address::Endpoint;
use crate::engine::payload::RequestHeaders;
use crate::kafka::record::attempt::{KeptAnswer, SentRequest};
use crate::webhook::answer::Answer;

/// What stands in a secret's place.
const MASK: &str = "***";
/// A shorter secret is not looked for: it would be found in any text.
const SHORTEST_SECRET: usize = 4;
/// What is shown of a request's body; events are far smaller.
const SHOWN_BODY_BYTES: usize = 16 * 1024;
/// What is shown of an answer's headers, names and values together.
const SHOWN_HEADERS_BYTES: usize = 4096;
/// What stands in the name of an answer's header that is left out.
const PRIVATE_NAMES: [&str; 6] = ["cookie", "auth", "token", "secret", "session", "api-key"];

/// The credentials of one request, in every form in which they may come back.
pub struct Secrets(Vec<String>);

impl Secrets {
    /// Those that the request's `Authorization` holds.
    #[must_use]
    pub fn of(headers: &RequestHeaders) -> Self {
        let value = headers.iter().find(|(name, _)| *name == AUTHORIZATION);
        let value = value.and_then(|(_, value)| value.to_str().ok());
        let Some((_, credential)) = value.and_then(|value| value.split_once(' ')) else {
            return Self(Vec::new());
        };
        let mut forms = vec![credential.to_owned()];
        let decoded =
            STANDARD.decode(credential).ok().and_then(|pair| String::from_utf8(pair).ok());
        if let Some((_, password)) = decoded.as_deref().and_then(|pair| pair.split_once(':')) {
            forms.push(password.to_owned());
        }
        for plain in forms.clone() {
            forms.push(url::form_urlencoded::byte_serialize(plain.as_bytes()).collect());
            forms.push(plain.bytes().map(|byte| format!("{byte:02x}")).collect());
            forms.push(STANDARD.encode(&plain).trim_end_matches('=').to_owned());
            let json = serde_json::to_string(&plain).unwrap_or_default();
            forms.push(json.trim_matches('"').to_owned());
        }
        forms.retain(|form| form.len() >= SHORTEST_SECRET);
        // The longest first: one that holds another must not be left as a remainder.
        forms.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        forms.dedup();
        Self(forms)
    }

    /// The text without them; also without one that is cut at the text's end.
    fn mask<'a>(&self, text: Cow<'a, str>) -> Cow<'a, str> {
        let mut text = text;
        for secret in &self.0 {
            if memmem::find(text.as_bytes(), secret.as_bytes()).is_some() {
                text = Cow::Owned(text.replace(secret.as_str(), MASK));
            }
        }
        match self.cut_at(&text) {
            Some(end) => Cow::Owned(format!("{}{MASK}", &text[..end])),
            None => text,
        }
    }

    /// Where a secret begins that the end of the text cuts off.
    fn cut_at(&self, text: &str) -> Option<usize> {
        let beginnings = self.0.iter().flat_map(|secret| {
            let lengths = SHORTEST_SECRET..secret.len();
            lengths.filter_map(|length| secret.get(..length))
        });
        beginnings.filter(|begin| text.ends_with(begin)).map(|begin| text.len() - begin.len()).min()
    }
}

/// Never shows them.
impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").field("forms", &self.0.len()).finish_non_exhaustive()
    }
}

/// A request as people may see it.
#[must_use]
pub fn masked_request<'a>(
    endpoint: &Endpoint,
    headers: &'a RequestHeaders,
    body: &'a [u8],
) -> SentRequest<'a> {
    let shown = |(name, value): &'a (HeaderName, HeaderValue)| {
        let is_secret = value.is_sensitive() || *name == AUTHORIZATION;
        let value =
            if is_secret { Cow::Borrowed(MASK) } else { String::from_utf8_lossy(value.as_bytes()) };
        (Cow::Borrowed(name.as_str()), value)
    };
    SentRequest {
        method: Cow::Borrowed("POST"),
        url: Cow::Owned(endpoint.masked()),
        headers: headers.iter().map(shown).collect(),
        body: String::from_utf8_lossy(&body[..body.len().min(SHOWN_BODY_BYTES)]),
        is_body_cut: body.len() > SHOWN_BODY_BYTES,
    }
}

/// An answer as people may see it.
#[must_use]
pub fn masked_answer<'a>(answer: &'a Answer, secrets: &Secrets) -> KeptAnswer<'a> {
    let mut room = SHOWN_HEADERS_BYTES;
    let public = answer.headers.iter().filter(|(name, _)| !is_private(name.as_str()));
    let headers = public
        .map(|(name, value)| {
            let value = secrets.mask(String::from_utf8_lossy(value.as_bytes()));
            (secrets.mask(Cow::Borrowed(name.as_str())), value)
        })
        .take_while(|(name, value)| {
            let left = room.checked_sub(name.len() + value.len());
            room = left.unwrap_or(0);
            left.is_some()
        })
        .collect();
    KeptAnswer {
        headers,
        body: secrets.mask(String::from_utf8_lossy(&answer.body)),
        is_body_cut: answer.is_cut,
    }
}

fn is_private(name: &str) -> bool {
    PRIVATE_NAMES.iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::engine::connection::Auth;
    use crate::engine::event::EventId;
    use crate::engine::fixtures::connection;
    use crate::engine::payload::render_headers;
    use crate::engine::time::Timestamp;

    fn headers(auth: &Auth) -> RequestHeaders {
        render_headers(&EventId::from_text("e1"), 1, Timestamp::from_secs(1), auth)
    }

    fn basic() -> RequestHeaders {
        let password = "canary \"9f3a\"+ä".to_owned().into();
        headers(&Auth::Basic { username: "xp".into(), password })
    }

    fn answer(body: &str) -> Answer {
        Answer { body: Bytes::copy_from_slice(body.as_bytes()), ..Answer::default() }
    }

    #[test]
    fn a_request_is_shown_without_its_credentials() {
        let headers = basic();
        let endpoint = connection("1/a").build().endpoint;
        let request = masked_request(&endpoint, &headers, b"{}");
        let shown = format!("{request:?}");
        assert!(shown.contains("(\"authorization\", \"***\")"), "{shown}");
        assert!(shown.contains("(\"webhook-id\", \"e1\")") && !shown.contains("Basic"), "{shown}");
        assert_eq!((&*request.body, request.is_body_cut), ("{}", false));
    }

    #[test]
    fn credentials_that_come_back_are_masked_in_every_form() {
        let password = "canary \"9f3a\"+ä";
        let pair = STANDARD.encode(format!("xp:{password}"));
        let hex: String = password.bytes().map(|byte| format!("{byte:02x}")).collect();
        let escaped = serde_json::to_string(password).unwrap();
        let query: String = url::form_urlencoded::byte_serialize(password.as_bytes()).collect();
        let echo = format!("a {password} b {pair} c {hex} d {escaped} e {query} f");
        let secrets = Secrets::of(&basic());
        let kept = answer(&echo);
        assert_eq!(masked_answer(&kept, &secrets).body, "a *** b *** c *** d \"***\" e *** f");
        let cut = answer(&format!("a {}", &pair[..9]));
        assert_eq!(masked_answer(&cut, &secrets).body, "a ***", "cut at the end");
        let bearer = headers(&Auth::Bearer { token: "t0ken".to_owned().into() });
        let echo = answer("Bearer t0ken t0k");
        assert_eq!(masked_answer(&echo, &Secrets::of(&bearer)).body, "Bearer *** t0k");
    }

    #[test]
    fn cookies_are_left_out_and_headers_end_at_their_limit() {
        let mut kept = answer("");
        let put = |kept: &mut Answer, name: &'static str, value: &str| {
            let value = HeaderValue::from_str(value).unwrap();
            kept.headers.append(HeaderName::from_static(name), value);
        };
        put(&mut kept, "server", "nginx");
        put(&mut kept, "set-cookie", "sid=1");
        put(&mut kept, "x-csrf-token", "1");
        for _ in 0..6 {
            put(&mut kept, "x-long", &"y".repeat(1000));
        }
        let shown = masked_answer(&kept, &Secrets(Vec::new())).headers;
        let names: Vec<_> = shown.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["server", "x-long", "x-long", "x-long", "x-long"]);
    }
}
