//! A headless Chromium, driven by the W3C's WebDriver protocol through Debian's chromedriver.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A browser with a page. It is ended when this is dropped.
pub struct Browser {
    driver: Child,
    port: u16,
    session: String,
    _profile: TempDir,
}

const OPTIONS: [&str; 12] = [
    // With a pipe to its driver it ends when the driver does, however that ends.
    "--remote-debugging-pipe",
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
];

impl Browser {
    /// Starts one whose window has a size.
    pub fn start(width: u32, height: u32) -> Browser {
        let profile = tempfile::tempdir().expect("a temporary folder");
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            // It leaves folders behind where it is ended.
            .env("TMPDIR", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver is installed (Debian's chromium-driver)");
        let port = port(BufReader::new(driver.stdout.take().expect("standard output is a pipe")));
        let mut arguments = OPTIONS.map(String::from).to_vec();
        arguments.push(format!("--user-data-dir={}", profile.path().display()));
        arguments.push(format!("--window-size={width},{height}"));
        let mut browser = Browser { driver, port, session: String::new(), _profile: profile };
        let capabilities = json!({
            "browserName": "chrome",
            "unhandledPromptBehavior": "ignore",
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
            "goog:chromeOptions": { "args": arguments },
        });
        let made = browser.ask("POST", "/session", &json!({ "capabilities": { "alwaysMatch": capabilities } }));
        browser.session = made["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {made}")).into();
        browser
    }

    /// Opens a file. What was told of pages before it is forgotten.
    pub fn open(&self, file: &Path) {
        self.post("url", &json!({ "url": "about:blank" }));
        self.complaints();
        self.requests();
        self.post("url", &json!({ "url": format!("file://{}", file.display()) }));
    }

    /// What a function's body returns in the page.
    pub fn run(&self, body: &str) -> Value {
        self.post("execute/sync", &json!({ "script": body, "args": [] }))
    }

    /// Clicks where the mouse is at in the window, in CSS pixels.
    pub fn click(&self, x: f64, y: f64) {
        self.drag((x, y), (x, y));
    }

    /// Presses the mouse at one place and lets go at another.
    pub fn drag(&self, from: (f64, f64), to: (f64, f64)) {
        let go = |(x, y): (f64, f64)| json!({ "type": "pointerMove", "duration": 0, "x": x as i64, "y": y as i64 });
        let mut actions = vec![go(from), json!({ "type": "pointerDown", "button": 0 })];
        if from != to {
            actions.push(go(to));
        }
        actions.push(json!({ "type": "pointerUp", "button": 0 }));
        let mouse =
            json!({ "type": "pointer", "id": "mouse", "parameters": { "pointerType": "mouse" }, "actions": actions });
        self.post("actions", &json!({ "actions": [mouse] }));
    }

    /// Clicks an element.
    pub fn click_on(&self, selector: &str) {
        let element = self.element(selector);
        self.post(&format!("element/{element}/click"), &json!({}));
    }

    /// Types into an element.
    pub fn type_into(&self, selector: &str, text: &str) {
        let element = self.element(selector);
        self.post(&format!("element/{element}/value"), &json!({ "text": text }));
    }

    /// The text that an element shows.
    pub fn text(&self, selector: &str) -> String {
        let text = self.run(&format!("return document.querySelector({}).innerText", json!(selector)));
        text.as_str().unwrap_or_else(|| panic!("{selector}: {text}")).into()
    }

    /// Whether a dialog is open.
    pub fn has_dialog(&self) -> bool {
        self.ask("GET", &format!("/session/{}/alert/text", self.session), &Value::Null)["error"] != "no such alert"
    }

    /// What the page complained of since it was opened or this was asked.
    pub fn complaints(&self) -> Vec<Value> {
        self.log("browser")
    }

    /// The addresses that were asked for.
    pub fn requests(&self) -> Vec<String> {
        let events = self.log("performance").into_iter().filter_map(|entry| {
            serde_json::from_str::<Value>(entry["message"].as_str()?).ok().map(|mut event| event["message"].take())
        });
        let sent = events.filter(|event| event["method"] == "Network.requestWillBeSent");
        sent.filter_map(|event| Some(event["params"]["request"]["url"].as_str()?.to_owned())).collect()
    }

    /// Writes what the window shows as PNG, for people to look at.
    pub fn screenshot(&self, file: &Path) {
        use base64::Engine;
        let picture = self.ask("GET", &format!("/session/{}/screenshot", self.session), &Value::Null);
        let picture = picture.as_str().expect("a picture");
        std::fs::write(file, base64::engine::general_purpose::STANDARD.decode(picture).expect("base64"))
            .expect("written");
    }

    fn log(&self, of: &str) -> Vec<Value> {
        self.post("se/log", &json!({ "type": of })).as_array().expect("a list").clone()
    }

    fn element(&self, selector: &str) -> String {
        let found = self.post("element", &json!({ "using": "css selector", "value": selector }));
        let id = found.as_object().and_then(|found| found.values().next()?.as_str());
        id.unwrap_or_else(|| panic!("no {selector}: {found}")).into()
    }

    fn post(&self, command: &str, body: &Value) -> Value {
        let answer = self.ask("POST", &format!("/session/{}/{command}", self.session), body);
        assert!(answer["error"].is_null(), "{command}: {answer}");
        answer
    }

    /// A command of the protocol and its value.
    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("chromedriver listens");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost:{}\r\nContent-Type: application/json\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.port,
            body.len()
        )
        .expect("chromedriver listens");
        let mut answer = answer(BufReader::new(stream));
        answer["value"].take()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() && !std::thread::panicking() {
            self.ask("DELETE", &format!("/session/{}", self.session), &Value::Null);
        }
        // Both fail only if it has ended already. A browser whose driver has ended ends, too.
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// The port that chromedriver says it listens on.
fn port(mut told: impl BufRead + Send + 'static) -> u16 {
    let mut line = String::new();
    let port = loop {
        line.clear();
        assert!(
            told.read_line(&mut line).expect("chromedriver tells") > 0,
            "chromedriver ended without telling a port"
        );
        if let Some((_, port)) = line.split_once("successfully on port ") {
            break port.trim().trim_end_matches('.').parse().expect("a port");
        }
    };
    std::thread::spawn(move || std::io::copy(&mut told, &mut std::io::sink()));
    port
}

fn answer(mut stream: impl BufRead) -> Value {
    let (mut line, mut length) = (String::new(), 0);
    loop {
        line.clear();
        stream.read_line(&mut line).expect("chromedriver answers");
        let header = line.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).expect("chromedriver answers");
    serde_json::from_slice(&body).expect("an answer is JSON")
}
