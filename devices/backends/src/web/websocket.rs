//! The server's side of a WebSocket after its opening (RFC 6455): a stream of bytes both ways, in binary messages whose
//! borders mean nothing.

/// Longest payload of a control frame (5.5).
const CONTROL: usize = 125;
/// Most bytes of one frame of ours.
const FRAME: usize = 1 << 16;

/// What a frame is (5.2).
mod opcode {
    pub const CONTINUATION: u8 = 0;
    pub const TEXT: u8 = 1;
    pub const BINARY: u8 = 2;
    pub const CLOSE: u8 = 8;
    pub const PING: u8 = 9;
    pub const PONG: u8 = 10;
}

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;

/// Why a WebSocket ends (7.4.1).
pub mod status {
    /// All is said.
    pub const NORMAL: u16 = 1000;
    /// The server goes.
    pub const AWAY: u16 = 1001;
    /// A frame that there is not.
    pub const PROTOCOL: u16 = 1002;
    /// Text, which nothing here is.
    pub const UNSUPPORTED: u16 = 1003;
}

/// A frame under way.
#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: u8,
    mask: [u8; 4],
    left: u64,
    /// Bytes of its payload that have come, as far as the mask needs to know.
    at: usize,
}

/// One WebSocket.
#[derive(Debug, Default)]
pub struct WebSocket {
    /// The beginning of a frame: 14 bytes at most.
    head: Vec<u8>,
    frame: Option<Frame>,
    /// A message has begun whose last frame has not come.
    inside: bool,
    /// The payload of a control frame, so far.
    control: Vec<u8>,
    /// The answer to the last ping, until it is sent.
    pong: Option<Vec<u8>>,
    /// What is said at the end, until it is sent.
    close: Option<u16>,
    closing: bool,
}

/// What a frame that is wrong is answered with.
struct Wrong(u16);

impl WebSocket {
    /// Takes what the client sent; what it means goes to `plain`, which becomes no longer than by `data`.
    pub fn receive(&mut self, mut data: &[u8], plain: &mut Vec<u8>) {
        while !data.is_empty() && !self.closing {
            let step = match self.frame {
                Some(frame) => Ok(self.payload(frame, data, plain)),
                None => self.begin(data),
            };
            match step {
                Ok(used) => data = data.get(used..).unwrap_or_default(),
                Err(Wrong(status)) => self.close(status),
            }
        }
    }

    /// Takes a byte of a frame's head, and the frame's beginning when it is whole. Gives the bytes that were used.
    fn begin(&mut self, data: &[u8]) -> Result<usize, Wrong> {
        self.head.extend(data.first());
        let frame = self.parse()?;
        if let Some(frame) = frame {
            self.head.clear();
            self.control.clear();
            match frame.left {
                0 => self.end(frame.opcode),
                _ => self.frame = Some(frame),
            }
        }
        Ok(1)
    }

    fn parse(&mut self) -> Result<Option<Frame>, Wrong> {
        let [first, second, rest @ ..] = self.head.as_slice() else { return Ok(None) };
        let (fin, opcode) = (first & FIN != 0, first & 0xf);
        let len = second & !MASKED;
        let is_control = opcode >= opcode::CLOSE;
        let known = match opcode {
            opcode::CONTINUATION => self.inside,
            opcode::TEXT | opcode::BINARY => !self.inside,
            opcode::CLOSE | opcode::PING | opcode::PONG => fin && usize::from(len) <= CONTROL,
            _ => false,
        };
        // No extension was agreed on; a client masks all it sends (5.1).
        if first & 0x70 != 0 || !known || second & MASKED == 0 {
            return Err(Wrong(status::PROTOCOL));
        }
        if opcode == opcode::TEXT {
            return Err(Wrong(status::UNSUPPORTED));
        }
        let (left, rest) = match (len, rest) {
            (126, [a, b, rest @ ..]) => (u64::from(u16::from_be_bytes([*a, *b])), rest),
            (127, [a, b, c, d, e, f, g, h, rest @ ..]) => {
                (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), rest)
            }
            (126 | 127, _) => return Ok(None),
            _ => (u64::from(len), rest),
        };
        // In as few bytes as possible, and without the top bit.
        if len == 126 && left < 126 || len == 127 && (left <= 0xffff || left >> 63 != 0) {
            return Err(Wrong(status::PROTOCOL));
        }
        let Some(&mask) = rest.first_chunk() else { return Ok(None) };
        if !is_control {
            self.inside = !fin;
        }
        Ok(Some(Frame { opcode, mask, left, at: 0 }))
    }

    /// Takes what there is of a frame's payload.
    fn payload(&mut self, mut frame: Frame, data: &[u8], plain: &mut Vec<u8>) -> usize {
        let len = usize::try_from(frame.left).map_or(data.len(), |left| left.min(data.len()));
        let mask = frame.mask.iter().cycle().skip(frame.at % 4);
        let clear = data.iter().take(len).zip(mask).map(|(byte, mask)| byte ^ mask);
        match frame.opcode {
            opcode::CLOSE | opcode::PING | opcode::PONG => self.control.extend(clear),
            _ => plain.extend(clear),
        }
        frame.left -= len as u64;
        frame.at = (frame.at + len) % 4;
        self.frame = (frame.left > 0).then_some(frame);
        if frame.left == 0 {
            self.end(frame.opcode);
        }
        len
    }

    /// A frame is whole.
    fn end(&mut self, opcode: u8) {
        match opcode {
            // Only the last ping need be answered (5.5.3).
            opcode::PING => self.pong = Some(std::mem::take(&mut self.control)),
            opcode::CLOSE => {
                let status = self.control.first_chunk().map(|status| u16::from_be_bytes(*status));
                self.close(status.filter(|status| (1000..5000).contains(status)).unwrap_or(status::NORMAL));
            }
            _ => {}
        }
    }

    /// Says that this is the end. Nothing is taken any more.
    pub fn close(&mut self, status: u16) {
        if !self.closing {
            self.close = Some(status);
            self.closing = true;
        }
    }

    /// Whether the connection ends when all is sent.
    pub fn is_closing(&self) -> bool {
        self.closing
    }

    /// Whether [`answers`](WebSocket::answers) has something.
    pub fn has_answers(&self) -> bool {
        self.pong.is_some() || self.close.is_some()
    }

    /// Adds what the protocol itself has to say.
    pub fn answers(&mut self, out: &mut Vec<u8>) {
        if let Some(pong) = self.pong.take() {
            frame(opcode::PONG, &pong, out);
        }
        if let Some(status) = self.close.take() {
            frame(opcode::CLOSE, &status.to_be_bytes(), out);
        }
    }

    /// Adds a message, or of a long one the beginning; the bytes that were used. Nothing follows a close.
    pub fn send(&self, data: &[u8], out: &mut Vec<u8>) -> usize {
        let data = data.get(..FRAME).unwrap_or(data);
        if !self.closing && !data.is_empty() {
            frame(opcode::BINARY, data, out);
        }
        data.len()
    }
}

/// A whole message, unmasked.
fn frame(opcode: u8, data: &[u8], out: &mut Vec<u8>) {
    out.push(FIN | opcode);
    match data.len() {
        len @ 0..126 => out.push(len as u8),
        len @ 126..0x1_0000 => {
            out.push(126);
            out.extend((len as u16).to_be_bytes());
        }
        len => {
            out.push(127);
            out.extend((len as u64).to_be_bytes());
        }
    }
    out.extend(data);
}
