//! A client of the monitor, written apart from the program's own so that both cannot be wrong together.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// A connection that has negotiated.
#[derive(Debug)]
pub struct Qmp {
    reader: BufReader<UnixStream>,
    writer: UnixStream,
    /// Those that came and nobody has waited for yet.
    events: Vec<Value>,
}

impl Qmp {
    /// Connects, waiting until the program has made its socket, while `alive` says that it may.
    pub fn connect(path: &Path, mut alive: impl FnMut() -> bool) -> Result<Qmp> {
        let until = Instant::now() + Duration::from_secs(20);
        let stream = loop {
            match UnixStream::connect(path) {
                Ok(stream) => break stream,
                Err(_) if Instant::now() < until && alive() => std::thread::sleep(Duration::from_millis(20)),
                Err(error) => return Err(error).context("the monitor's socket does not answer"),
            }
        };
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        let mut qmp = Qmp { reader: BufReader::new(stream.try_clone()?), writer: stream, events: Vec::new() };
        let greeting = qmp.receive()?;
        if greeting.pointer("/QMP/version").is_none() {
            bail!("the monitor greets with {greeting}");
        }
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Runs a command and gives what it returned; events that come meanwhile are kept.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let mut text = json!({ "execute": command, "arguments": arguments }).to_string();
        text.push('\n');
        self.writer.write_all(text.as_bytes())?;
        loop {
            let answer = self.receive().with_context(|| format!("no answer to {command}"))?;
            if let Some(result) = answer.get("return") {
                return Ok(result.clone());
            }
            if let Some(error) = answer.get("error") {
                bail!("{command} was refused: {error}");
            }
            self.events.push(answer);
        }
    }

    /// Waits for the next event of that name and gives its data; those before it are passed over.
    pub fn wait_event(&mut self, name: &str) -> Result<Value> {
        loop {
            let event = if self.events.is_empty() { self.receive() } else { Ok(self.events.remove(0)) };
            let event = event.with_context(|| format!("no event {name}"))?;
            if event["event"] == name {
                return Ok(event["data"].clone());
            }
        }
    }

    fn receive(&mut self) -> Result<Value> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            bail!("the monitor closed the connection");
        }
        serde_json::from_str(&line).with_context(|| format!("the monitor said {line:?}"))
    }
}
