//! A real browser: Debian's Chromium, driven through its chromedriver by the WebDriver protocol (a W3C
//! recommendation): JSON over HTTP. People's words lead the way: what is clicked is found by what it says, and a field
//! by its label.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use super::eventually;

/// What judges whether everybody can use a page.
const AXE: &str = include_str!("../axe/axe-4.14.1.min.js");
const JUDGE: &str = "const done = arguments[arguments.length - 1];
    axe.run(document, { resultTypes: ['violations'] }).then((found) => done(found.violations
        .filter((one) => ['serious', 'critical'].includes(one.impact))
        .map((one) => one.id + ': ' + one.nodes.map((node) => node.html + ' ' + node.failureSummary).join(' | '))));";
/// The size of its window.
const WINDOW: &str = "--window-size=1280,820";
const HOW_TO_GET_ONE: &str = "this test needs a browser: install chromium and chromium-driver; \
    BARNABAS_TEST_BROWSER=none skips the tests that need it";

/// As the protocol names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// The Escape key, as the protocol writes it.
pub const ESCAPE: &str = "\u{e00c}";

/// A window of a browser. Closed when it is dropped.
pub struct Chromium {
    /// Of the pages.
    base: String,
    /// Of the driver's session.
    session: String,
    runtime: Runtime,
    client: reqwest::Client,
    driver: Child,
}

/// Which colours a person prefers.
#[derive(Clone, Copy, Debug)]
pub enum Scheme {
    Light,
    Dark,
}

impl Chromium {
    /// Opens one; `None` where such tests are skipped.
    pub fn start(address: SocketAddr) -> Option<Self> {
        if std::env::var("BARNABAS_TEST_BROWSER").is_ok_and(|browser| browser == "none") {
            return None;
        }
        let mut driver = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "chromedriver", "--port=0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect(HOW_TO_GET_ONE);
        let port = port_of(&mut driver).expect(HOW_TO_GET_ONE);
        let arguments = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", WINDOW];
        let wanted = json!({"alwaysMatch": {
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        }});
        let mut browser = Self {
            base: format!("http://{address}"),
            session: format!("http://127.0.0.1:{port}/session"),
            runtime: Builder::new_current_thread().enable_all().build().unwrap(),
            client: reqwest::Client::builder().timeout(super::PATIENCE).build().unwrap(),
            driver,
        };
        let opened = browser.post("", &json!({ "capabilities": wanted }));
        let id = opened.expect(HOW_TO_GET_ONE)["sessionId"].as_str().unwrap().to_owned();
        browser.session = format!("{}/{id}", browser.session);
        Some(browser)
    }

    /// Signs in by the form.
    pub fn sign_in(&self, token: &str) {
        self.open("/");
        self.fill("Token", token);
        self.click("Sign in");
        self.wait_for("Projects");
    }

    pub fn open(&self, path: &str) {
        let url = format!("{}{path}", self.base);
        self.post("/url", &json!({ "url": url })).unwrap();
    }

    /// Where it is, without the host.
    pub fn path(&self) -> String {
        let url = self.get("/url").unwrap();
        url.as_str().and_then(|url| url.strip_prefix(&self.base)).unwrap_or_default().to_owned()
    }

    /// Clicks what says that.
    pub fn click(&self, text: &str) {
        let says = "[self::a or self::button or self::summary or self::label]";
        self.click_at(&format!("//*{says}[normalize-space()='{text}']"));
    }

    /// Clicks what an XPath leads to, once it can be seen.
    pub fn click_at(&self, path: &str) {
        eventually(&format!("{path} can be clicked, on {}", self.path()), || {
            let is_seen = |element: &String| {
                let seen = self.get(&format!("{element}/displayed"));
                seen == Ok(json!(true))
            };
            let element = self.find(path).into_iter().find(is_seen)?;
            self.post(&format!("{element}/click"), &json!({})).ok()
        });
    }

    /// Enters a text into the field of that label.
    pub fn fill(&self, label: &str, text: &str) {
        eventually(&format!("there is a field {label}"), || {
            let field = self.find(&field(label)).into_iter().next()?;
            self.post(&format!("{field}/clear"), &json!({})).ok()?;
            self.post(&format!("{field}/value"), &json!({ "text": text })).ok()
        });
    }

    /// Chooses an option of the field of that label.
    pub fn choose(&self, label: &str, option: &str) {
        self.click_at(&format!("{}/option[normalize-space()='{option}']", field(label)));
    }

    /// Presses a key where the focus is.
    pub fn press(&self, key: &str) {
        let focused = self.get("/element/active").unwrap();
        let path = format!("/element/{}/value", focused[ELEMENT].as_str().unwrap());
        self.post(&path, &json!({ "text": key })).unwrap();
    }

    /// The paths of the elements that an XPath leads to.
    fn find(&self, path: &str) -> Vec<String> {
        let wanted = json!({ "using": "xpath", "value": path });
        let found = self.post("/elements", &wanted).unwrap_or_default();
        let found = found.as_array().cloned().unwrap_or_default();
        let id = |element: &Value| Some(format!("/element/{}", element[ELEMENT].as_str()?));
        found.iter().filter_map(id).collect()
    }

    /// Everything that can be read on the page.
    pub fn text(&self) -> String {
        let text = self.script("return document.body.innerText");
        text.as_str().unwrap_or_default().to_owned()
    }

    pub fn wait_for(&self, text: &str) {
        let end = Instant::now() + super::PATIENCE;
        loop {
            let seen = self.text();
            if seen.contains(text) {
                return;
            }
            let late = Instant::now() > end;
            assert!(!late, "{} never shows {text:?}:\n{seen}", self.path());
            thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// What a script gives back; null where the page has just been left.
    pub fn script(&self, script: &str) -> Value {
        let script = json!({ "script": script, "args": [] });
        self.post("/execute/sync", &script).unwrap_or_default()
    }

    /// What keeps people from using this page, as far as axe-core knows.
    pub fn barriers(&self) -> Vec<String> {
        self.script(AXE);
        let judge = json!({ "script": JUDGE, "args": [] });
        serde_json::from_value(self.post("/execute/async", &judge).unwrap()).unwrap()
    }

    pub fn prefer(&self, scheme: Scheme) {
        let value = match scheme {
            Scheme::Light => "light",
            Scheme::Dark => "dark",
        };
        let features = json!([{ "name": "prefers-color-scheme", "value": value }]);
        self.devtools("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    /// As wide as a window of 1280 at that zoom.
    pub fn zoom(&self, percent: u32) {
        let width = 1280 * 100 / percent;
        let size =
            json!({ "width": width, "height": 820, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", &size);
    }

    /// Whether one has to scroll sideways to read the page.
    pub fn is_too_wide(&self) -> bool {
        self.script(
            "const page = document.documentElement; return page.scrollWidth > page.clientWidth",
        ) == json!(true)
    }

    /// What the browser complains of: scripts that fail, files that are missing or refused.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.post("/se/log", &json!({ "type": "browser" })).unwrap();
        let entries = log.as_array().cloned().unwrap_or_default();
        let is_severe = |entry: &&Value| entry["level"] == "SEVERE";
        entries.iter().filter(is_severe).map(|entry| entry["message"].to_string()).collect()
    }

    /// Keeps a picture of the page: in `target/`, for whoever wants to look, or in a folder named by
    /// `BARNABAS_SCREENSHOTS`.
    pub fn picture(&self, name: &str) {
        let folder = std::env::var_os("BARNABAS_SCREENSHOTS").map_or_else(
            || PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("screenshots"),
            PathBuf::from,
        );
        fs::create_dir_all(&folder).unwrap();
        let picture = self.get("/screenshot").unwrap();
        let picture = STANDARD.decode(picture.as_str().unwrap()).unwrap();
        fs::write(folder.join(format!("{name}.png")), picture).unwrap();
    }

    fn devtools(&self, command: &str, parameters: &Value) {
        let command = json!({ "cmd": command, "params": parameters });
        self.post("/goog/cdp/execute", &command).unwrap();
    }

    /// Gives the driver a command; what it answers, or what is wrong.
    fn post(&self, path: &str, body: &Value) -> Result<Value, String> {
        self.ask(self.client.post(format!("{}{path}", self.session)).json(body))
    }

    fn get(&self, path: &str) -> Result<Value, String> {
        self.ask(self.client.get(format!("{}{path}", self.session)))
    }

    fn ask(&self, request: RequestBuilder) -> Result<Value, String> {
        self.runtime.block_on(async {
            let answer = request.send().await.map_err(|error| error.to_string())?;
            let is_done = answer.status().is_success();
            let mut answer: Value = answer.json().await.map_err(|error| error.to_string())?;
            let value = answer["value"].take();
            if is_done { Ok(value) } else { Err(value.to_string()) }
        })
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.ask(self.client.delete(&self.session));
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// The field of that label.
fn field(label: &str) -> String {
    format!("//*[@id=//label[normalize-space()='{label}']/@for]")
}

/// The port that the driver says, and a thread that takes what it says later.
fn port_of(driver: &mut Child) -> Option<u16> {
    let mut lines = BufReader::new(driver.stdout.take()?).lines().map_while(Result::ok);
    let port = lines.find_map(|line| {
        let (_, port) = line.split_once("successfully on port ")?;
        port.trim_end_matches('.').parse().ok()
    });
    thread::spawn(move || lines.for_each(drop));
    port
}
