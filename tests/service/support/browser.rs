//! A browser without script: it sends forms, keeps its cookie, and goes where it is sent.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::Duration;

use reqwest::redirect::Policy;
use tokio::runtime::{Builder, Runtime};
use url::form_urlencoded;

/// Longer than the server's own limit.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// A page.
#[derive(Clone, Debug)]
pub struct Page {
    pub status: u16,
    /// Its path, after redirects.
    pub path: String,
    pub html: String,
}

impl Page {
    /// The page, which must have that status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}: {}", self.path, self.html);
        self
    }

    pub fn shows(&self, text: &str) -> bool {
        self.html.contains(text)
    }

    /// The value of a hidden field.
    pub fn hidden(&self, name: &str) -> String {
        let place = format!("name=\"{name}\" value=\"");
        let (_, rest) = self.html.split_once(&place).unwrap_or_else(|| panic!("{}", self.html));
        rest.split_once('"').unwrap().0.to_owned()
    }
}

pub struct Browser {
    base: String,
    runtime: Runtime,
    client: reqwest::Client,
    cookie: RefCell<String>,
}

impl Browser {
    pub fn new(address: SocketAddr) -> Self {
        let client = reqwest::Client::builder().timeout(ANSWER_TIME).redirect(Policy::none());
        Self {
            base: format!("http://{address}"),
            runtime: Builder::new_current_thread().enable_all().build().unwrap(),
            client: client.build().unwrap(),
            cookie: RefCell::default(),
        }
    }

    /// One that has signed in by the form.
    pub fn signed_in(address: SocketAddr, token: &str) -> Self {
        let browser = Self::new(address);
        browser.send("/session", &[("token", token)]).expect(200);
        assert!(!browser.cookie.borrow().is_empty(), "there is no session");
        browser
    }

    pub fn open(&self, path: &str) -> Page {
        self.go(path, None)
    }

    /// Sends a form.
    pub fn send(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        let mut body = form_urlencoded::Serializer::new(String::new());
        self.go(path, Some(body.extend_pairs(fields).finish()))
    }

    fn go(&self, path: &str, mut form: Option<String>) -> Page {
        let mut path = path.to_owned();
        for _ in 0..4 {
            let page = match self.ask(&path, form.take()) {
                Ok(page) => return page,
                Err(next) => next,
            };
            path = page;
        }
        panic!("{path} sends in circles");
    }

    /// A page, or where it sends.
    fn ask(&self, path: &str, form: Option<String>) -> Result<Page, String> {
        let url = format!("{}{path}", self.base);
        let request = match form {
            None => self.client.get(url),
            Some(form) => self
                .client
                .post(url)
                .header("content-type", "application/x-www-form-urlencoded")
                .header("sec-fetch-site", "same-origin")
                .body(form),
        };
        let request =
            request.header("accept", "text/html").header("cookie", self.cookie.borrow().as_str());
        self.runtime.block_on(async {
            let answer = request.send().await.unwrap();
            let header = |name: &str| {
                answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
            };
            if let Some(cookie) = header("set-cookie") {
                self.cookie.replace(cookie.split(';').next().unwrap().to_owned());
            }
            let status = answer.status().as_u16();
            match header("location").filter(|_| status == 303) {
                Some(next) => Err(next),
                None => {
                    Ok(Page { status, path: path.to_owned(), html: answer.text().await.unwrap() })
                }
            }
        })
    }
}
