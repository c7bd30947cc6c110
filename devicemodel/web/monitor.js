// A line to the monitor: QMP, as a stream of lines in a WebSocket.

export class Monitor extends EventTarget {
  constructor(url) {
    super();
    this.waiting = new Map();
    this.last = 0;
    this.text = "";
    const decoder = new TextDecoder();
    this.socket = new WebSocket(url);
    this.socket.binaryType = "arraybuffer";
    this.socket.addEventListener("message", ({ data }) => this.take(decoder.decode(data, { stream: true })));
    this.socket.addEventListener("close", () => this.end());
    // The greeting comes by itself; a command may be on its way before.
    this.ready = new Promise((resolve) => this.socket.addEventListener("open", resolve, { once: true }))
      .then(() => this.send("qmp_capabilities"));
    this.ready.catch(() => {});
  }

  // Carries out a command; its answer, or an error with the monitor's words.
  async run(name, args) {
    await this.ready;
    return this.send(name, args);
  }

  send(name, args = {}) {
    if (this.socket.readyState !== WebSocket.OPEN) {
      return Promise.reject(new Error("the guest's process is gone"));
    }
    this.last += 1;
    const id = this.last;
    const text = JSON.stringify({ execute: name, arguments: args, id });
    this.socket.send(new TextEncoder().encode(text));
    return new Promise((resolve, reject) => this.waiting.set(id, { resolve, reject }));
  }

  take(piece) {
    const lines = (this.text + piece).split("\n");
    this.text = lines.pop();
    for (const line of lines.filter((line) => line.trim())) {
      this.hear(JSON.parse(line));
    }
  }

  hear(answer) {
    if (answer.event) {
      this.dispatchEvent(new CustomEvent(answer.event, { detail: answer.data ?? {} }));
      return;
    }
    const waiting = this.waiting.get(answer.id);
    if (!waiting) return;
    this.waiting.delete(answer.id);
    if (answer.error) {
      waiting.reject(new Error(answer.error.desc));
    } else {
      waiting.resolve(answer.return);
    }
  }

  end() {
    for (const { reject } of this.waiting.values()) {
      reject(new Error("the guest's process is gone"));
    }
    this.waiting.clear();
    this.dispatchEvent(new Event("end"));
  }
}
