//! Chromium without a window, driven over its `DevTools` protocol through a pair of pipes.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::host::{Guarded, comes_true, installed};

/// Names under which it is packaged.
const PROGRAMS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
/// Far more than an answer takes on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) struct Browser {
    _process: Guarded,
    commands: ChildStdin,
    messages: Receiver<Value>,
    events: Vec<Value>,
    session: Option<String>,
    last: u64,
    _dir: TempDir,
}

impl Browser {
    /// If there is one; else says that the test is left out.
    pub(crate) fn start(width: u32, height: u32) -> Option<Browser> {
        let program = installed(&PROGRAMS, "chromium")?;
        let dir = TempDir::new().unwrap();
        let profile = format!("--user-data-dir={}", dir.path().display());
        // The protocol is spoken on descriptors 3 and 4. As root there is no sandbox; only our own page is opened.
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1", program, "--headless", "--no-sandbox"]);
        command.args(["--disable-gpu", "--no-first-run", "--remote-debugging-pipe", &profile, "about:blank"]);
        let mut process = Guarded(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap());
        let commands = process.stdin.take().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (sender, messages) = channel();
        thread::spawn(move || {
            for message in output.split(0).map_while(Result::ok) {
                if sender.send(serde_json::from_slice(&message).unwrap()).is_err() {
                    break;
                }
            }
        });
        let mut browser = Browser { _process: process, commands, messages, events: Vec::new(), session: None, last: 0, _dir: dir };
        let target = browser.call("Target.createTarget", &json!({"url": "about:blank"}))["targetId"].clone();
        let session = browser.call("Target.attachToTarget", &json!({"targetId": target, "flatten": true}));
        browser.session = Some(session["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            browser.call(domain, &json!({}));
        }
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        browser.call("Emulation.setDeviceMetricsOverride", &size);
        Some(browser)
    }

    fn call(&mut self, method: &str, params: &Value) -> Value {
        self.last += 1;
        let mut message = json!({"id": self.last, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.commands.write_all(message.to_string().as_bytes()).unwrap();
        self.commands.write_all(&[0]).unwrap();
        loop {
            let message = self.messages.recv_timeout(TIMEOUT).unwrap_or_else(|_| panic!("the browser does not answer {method}"));
            if message["id"] == self.last {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
            self.events.push(message);
        }
    }

    pub(crate) fn open(&mut self, url: &str) {
        let result = self.call("Page.navigate", &json!({"url": url}));
        assert!(result["errorText"].is_null(), "{url}: {result}");
        assert!(self.shows(&format!("location.href === '{url}' && document.readyState === 'complete'")), "{url} does not load");
    }

    pub(crate) fn evaluate(&mut self, expression: &str) -> Value {
        let result = self.call("Runtime.evaluate", &json!({"expression": expression, "returnByValue": true}));
        assert!(result["exceptionDetails"].is_null(), "{expression}: {result}");
        result["result"]["value"].clone()
    }

    pub(crate) fn shows(&mut self, expression: &str) -> bool {
        comes_true(30, || self.evaluate(&format!("Boolean({expression})")) == true)
    }

    /// Moves the pointer to the middle of an element, if there is no other place given as shares of its size, and clicks if asked to.
    pub(crate) fn point(&mut self, element: &str, at: (f64, f64), click: bool) {
        let place = self.evaluate(&format!(
            "(() => {{ const it = {element}; it.scrollIntoView({{block: 'center'}}); const box = it.getBoundingClientRect(); \
             return [box.left + box.width * {}, box.top + box.height * {}]; }})()",
            at.0, at.1
        ));
        let mut event = json!({"type": "mouseMoved", "x": place[0], "y": place[1], "button": "none", "clickCount": 0});
        self.call("Input.dispatchMouseEvent", &event);
        for kind in ["mousePressed", "mouseReleased"].into_iter().filter(|_| click) {
            event["type"] = json!(kind);
            event["button"] = json!("left");
            event["clickCount"] = json!(1);
            self.call("Input.dispatchMouseEvent", &event);
        }
    }

    pub(crate) fn press(&mut self, key: &str) {
        for kind in ["keyDown", "keyUp"] {
            self.call("Input.dispatchKeyEvent", &json!({"type": kind, "key": key, "code": key}));
        }
    }

    /// What the page's console has: errors, warnings, and what the browser refused to load.
    pub(crate) fn complaints(&mut self) -> Vec<String> {
        // Whatever was said before this is answered has come.
        self.evaluate("0");
        let is_bad = |event: &&Value| match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Runtime.consoleAPICalled") => ["error", "warning", "assert"].iter().any(|kind| event["params"]["type"] == *kind),
            Some("Log.entryAdded") => ["error", "warning"].iter().any(|level| event["params"]["entry"]["level"] == *level),
            _ => false,
        };
        self.events.iter().filter(is_bad).map(Value::to_string).collect()
    }
}
