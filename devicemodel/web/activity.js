// Requests a second by device, over the last minute.

const SECONDS = 60;

export class Activity {
  constructor(table, idle) {
    this.body = table.tBodies[0];
    this.idle = idle;
    this.before = null;
    this.rows = new Map();
  }

  // Takes how many accesses each device has had, at a time in milliseconds.
  take(counts, now) {
    const { before } = this;
    this.before = { counts, now };
    if (!before) return;
    const seconds = Math.max((now - before.now) / 1000, 0.001);
    for (const [name, count] of counts) {
      // A device that came anew begins at nothing.
      const since = count - Math.min(before.counts.get(name) ?? count, count);
      this.add(name, since / seconds);
    }
    for (const name of [...this.rows.keys()]) {
      const { history } = this.rows.get(name);
      if (!counts.has(name) || history.every((rate) => rate === 0)) this.drop(name);
    }
    this.idle.hidden = this.rows.size > 0;
    this.rows.forEach((row) => this.draw(row));
  }

  add(name, rate) {
    let row = this.rows.get(name);
    if (!row) {
      if (rate === 0) return;
      const tr = document.createElement("tr");
      const canvas = document.createElement("canvas");
      canvas.className = "line";
      canvas.setAttribute("aria-hidden", "true");
      const cells = [0, 1, 2].map(() => tr.insertCell());
      cells[0].textContent = name;
      cells[0].title = name;
      cells[1].append(canvas);
      cells[2].className = "number";
      row = { tr, canvas, number: cells[2], history: [] };
      this.rows.set(name, row);
      const after = [...this.rows.keys()].sort().find((other) => other > name);
      this.body.insertBefore(tr, after ? this.rows.get(after).tr : null);
    }
    row.history.push(rate);
    row.history = row.history.slice(-SECONDS);
    row.number.textContent = Math.round(rate).toLocaleString("en");
  }

  drop(name) {
    this.rows.get(name).tr.remove();
    this.rows.delete(name);
  }

  draw({ canvas, history }) {
    const scale = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth * scale, canvas.clientHeight * scale];
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
    }
    const pen = canvas.getContext("2d");
    pen.clearRect(0, 0, width, height);
    // From one to a million a second, so that a clock's ticks are seen beside a disk.
    const up = (rate) => height - 1 - (Math.log10(1 + rate) / 6) * (height - 2);
    const step = width / (SECONDS - 1);
    const first = width - (history.length - 1) * step;
    const color = getComputedStyle(canvas).color;
    pen.beginPath();
    history.forEach((rate, at) => pen.lineTo(first + at * step, up(rate)));
    pen.strokeStyle = color;
    pen.lineWidth = 1.5 * scale;
    pen.stroke();
    pen.lineTo(width, height);
    pen.lineTo(first, height);
    pen.globalAlpha = 0.2;
    pen.fillStyle = color;
    pen.fill();
    pen.globalAlpha = 1;
  }
}
