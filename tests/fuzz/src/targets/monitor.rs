//! What a client of the monitor sends.

use std::path::Path;

use devicemodel::monitor::commands::{execute, schema};
use devicemodel::monitor::context::{Context, Session, Shared};
use devicemodel::monitor::info::{ChardevBackend, Input, NewMedium, NewNode};
use devicemodel::monitor::protocol::{Decoder, Incoming, QmpError, failure, success};
use devicemodel::monitor::run_state::RunState;
use devicemodel::monitor::{Begun, Guest};

use devicemodel::screenshot::ImageFormat;

use super::outcome;

/// A guest that lets everything happen to it.
pub(super) struct Patient;

impl Guest for Patient {
    fn status(&self) -> RunState {
        RunState::Running
    }
    fn name(&self) -> String {
        "patient".into()
    }
    fn stop(&mut self) -> Result<Begun, QmpError> {
        Ok(Begun::Done)
    }
    fn cont(&mut self) -> Result<Begun, QmpError> {
        Ok(Begun::Done)
    }
    fn quit(&mut self) {}
    fn powerdown(&mut self) {}
    fn reset(&mut self) -> Result<(), QmpError> {
        Ok(())
    }
    fn inspect(&mut self, path: &str) -> Result<String, QmpError> {
        Ok(format!("tree {path}\n"))
    }
    fn screendump(
        &mut self,
        _file: &Path,
        _head: Option<(&str, u32)>,
        _format: ImageFormat,
    ) -> Result<Begun, QmpError> {
        Ok(Begun::Done)
    }
    fn send_key(&mut self, _keys: &[String], _hold_ms: u64) -> Result<(), QmpError> {
        Ok(())
    }
    fn save(&mut self, _file: &Path) -> Result<Begun, QmpError> {
        Ok(Begun::Done)
    }
    fn eject(&mut self, device: &str, _force: bool) -> Result<(), QmpError> {
        Err(QmpError::device_not_found(device))
    }
    fn change_medium(&mut self, _device: &str, _medium: NewMedium) -> Result<Begun, QmpError> {
        Ok(Begun::Done)
    }
    fn add_node(&mut self, _node: NewNode) -> Result<Begun, QmpError> {
        Ok(Begun::Done)
    }
    fn input(&mut self, _events: &[Input]) -> Result<(), QmpError> {
        Ok(())
    }
    fn add_chardev(&mut self, _id: &str, _line: ChardevBackend) -> Result<(Begun, Option<String>), QmpError> {
        Ok((Begun::Done, None))
    }
}

/// Commands that open a file of the host by a name that the client gives.
fn opens_files(name: &str) -> bool {
    matches!(name, "xen-save-devices-state" | "xen-load-devices-state" | "object-add")
}

/// The first byte says how large the pieces are that the rest comes in.
pub fn run(bytes: &[u8]) -> u64 {
    let Some((&piece, bytes)) = bytes.split_first() else { return 0 };
    let mut decoder = Decoder::default();
    let (mut shared, mut session) = (Shared::default(), Session::default());
    let mut told = String::new();
    let mut answers = 0;
    'pieces: for piece in bytes.chunks(usize::from(piece).max(1)) {
        if !decoder.push(piece) {
            break;
        }
        while let Some(incoming) = decoder.next_command() {
            answers += 1;
            if answers > 100 {
                break 'pieces;
            }
            let answer = match incoming {
                Incoming::Bad(answer) => answer,
                Incoming::Command(command) if opens_files(&command.name) => continue,
                Incoming::Command(command) => {
                    let mut context = Context {
                        guest: &mut Patient,
                        shared: &mut shared,
                        session: &mut session,
                        monitors: &[],
                        notify: &mut |_, _| (),
                        later: None,
                    };
                    match execute(&command, &mut context) {
                        Ok(result) => {
                            assert_eq!(schema().check_answer(&command.name, &result), Ok(()), "{result}");
                            success(result, command.id)
                        }
                        Err(error) => failure(&error, command.id),
                    }
                }
            };
            // One answer is one line, whatever the client put into its command.
            let line = answer.to_string();
            assert!(!line.contains('\n'), "an answer of several lines");
            if answers < 3 {
                told += &line.chars().take(200).collect::<String>();
            }
        }
    }
    outcome(answers, &told)
}

pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = schema()
        .commands()
        .map(|name| {
            let text = format!(
                "\u{10}{{\"execute\":\"{name}\",\"arguments\":{{\"device\":\"ide1-cd0\",\"path\":\"\"}},\"id\":1}}\n"
            );
            text.into_bytes()
        })
        .collect();
    for arguments in [
        "{\"execute\":\"send-key\",\"arguments\":{\"keys\":[{\"type\":\"qcode\",\"data\":\"ret\"}],\"hold-time\":1}}",
        "{\"execute\":\"device_add\",\"arguments\":{\"driver\":\"qemu64-x86_64-cpu\",\"id\":\"c\",\"socket-id\":1}}",
        "{\"execute\":\"human-monitor-command\",\"arguments\":{\"command-line\":\"info pci\"}}",
        "{\"execute\":\"eject\",\"arguments\":{\"device\":\"ide1-cd0\",\"force\":true}}{\"execute\":\"stop\"}",
        "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"a\",\"file\":{\"driver\":\"file\",\"filename\":\"/x\"}}}",
        "{\"execute\":\"input-send-event\",\"arguments\":{\"events\":[{\"type\":\"key\",\"data\":{\"down\":true,\"key\":{\"type\":\"number\",\"data\":30}}}]}}",
        "{\"execute\":\"chardev-add\",\"arguments\":{\"id\":\"c\",\"backend\":{\"type\":\"socket\",\"data\":{\"addr\":{\"type\":\"unix\",\"data\":{\"path\":\"/s\"}}}}}}",
        "{\"execute\":\"qom-get\",\"arguments\":{\"path\":\"/machine\",\"property\":\"peripheral\"}}",
        "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
        "{\"execute\":\"balloon\",\"arguments\":{\"value\":1e400}}\n{\"execute\":\"balloon\",\"arguments\":{\"value\":18446744073709551616}}",
        "[1,2,{\"a\":[\"\\u0041\\ud83d\\ude00\"]}]",
    ] {
        seeds.push([b"\x03", arguments.as_bytes()].concat());
    }
    seeds
}
