// What the guest plays. A second, small client of the VNC server: it asks for sound (QEMU's audio extension) and for no
// picture, so the screen's client need not know of it.

const RATE = 44100;
const CHANNELS = 2;
const FRAME = CHANNELS * 2;
// Seconds between what comes and what is heard, at least and at most. What comes too early is left out.
const AHEAD = 0.08;
const MOST = 0.5;

const number = (bytes, at, length) => bytes.slice(at, at + length).reduce((sum, byte) => sum * 256 + byte, 0);

export class Sound extends EventTarget {
  #url;
  #socket = null;
  #context = null;
  #bytes = new Uint8Array(0);
  #steps = null;
  #wanted = 0;
  #next = 0;

  // "off", "connecting", "on".
  state = "off";

  constructor(url) {
    super();
    this.#url = url;
  }

  // Called when a person has asked for it: browsers play nothing else.
  start() {
    this.#context = new AudioContext({ sampleRate: RATE });
    this.#bytes = new Uint8Array(0);
    this.#next = 0;
    const socket = new WebSocket(this.#url);
    socket.binaryType = "arraybuffer";
    socket.addEventListener("message", ({ data }) => { if (socket === this.#socket) this.#take(new Uint8Array(data)); });
    socket.addEventListener("close", () => { if (socket === this.#socket) this.stop(); });
    this.#socket = socket;
    this.#steps = this.#talk();
    this.#wanted = this.#steps.next().value;
    this.#tell("connecting");
  }

  stop() {
    const [socket, context] = [this.#socket, this.#context];
    this.#socket = this.#context = this.#steps = null;
    socket?.close();
    context?.close();
    this.#tell("off");
  }

  #tell(state) {
    if (state === this.state) return;
    this.state = state;
    this.dispatchEvent(new Event("change"));
  }

  #send(...bytes) {
    this.#socket.send(new Uint8Array(bytes));
  }

  // Gives each step the bytes that it waits for.
  #take(more) {
    const bytes = new Uint8Array(this.#bytes.length + more.length);
    bytes.set(this.#bytes);
    bytes.set(more, this.#bytes.length);
    this.#bytes = bytes;
    try {
      while (this.#steps && this.#bytes.length >= this.#wanted) {
        const now = this.#bytes.slice(0, this.#wanted);
        this.#bytes = this.#bytes.slice(this.#wanted);
        this.#wanted = this.#steps.next(now).value;
      }
    } catch {
      this.stop();
    }
  }

  // RFC 6143, 7.1 to 7.3, and then nothing but sound. Each step yields how many bytes it waits for.
  *#talk() {
    yield 12;
    this.#send(...new TextEncoder().encode("RFB 003.008\n"));
    const kinds = yield number(yield 1, 0, 1);
    // The page's server has no other: the token is the secret.
    if (!kinds.includes(1)) throw new Error("no such security type");
    this.#send(1);
    if (number(yield 4, 0, 4) !== 0) throw new Error("not let in");
    this.#send(1);
    yield number(yield 24, 20, 4);
    // Signed words, two channels, the rate; and go.
    this.#send(255, 1, 0, 2, 3, CHANNELS, 0, 0, RATE >> 8, RATE & 255, 255, 1, 0, 0);
    this.#tell("on");
    for (;;) {
      const head = yield 4;
      if (head[0] !== 255 || head[1] !== 1) throw new Error("no message of sound");
      if (number(head, 2, 2) === 2) this.#play(yield number(yield 4, 0, 4));
    }
  }

  #play(bytes) {
    const count = Math.floor(bytes.length / FRAME);
    const context = this.#context;
    if (!count || this.#next > context.currentTime + MOST) return;
    const words = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const buffer = context.createBuffer(CHANNELS, count, RATE);
    for (let channel = 0; channel < CHANNELS; channel += 1) {
      const samples = buffer.getChannelData(channel);
      for (let at = 0; at < count; at += 1) samples[at] = words.getInt16(at * FRAME + channel * 2, true) / 32768;
    }
    const source = new AudioBufferSourceNode(context, { buffer });
    source.connect(context.destination);
    if (this.#next < context.currentTime) this.#next = context.currentTime + AHEAD;
    source.start(this.#next);
    this.#next += count / RATE;
  }
}
