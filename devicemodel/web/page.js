// The guest's page: its screen, its buttons, and what it is doing.

import RFB from "./novnc/core/rfb.js";
import { Activity } from "./activity.js";
import { Monitor } from "./monitor.js";
import { Sound } from "./sound.js";
import { Tree, parse } from "./tree.js";

const KEYS = [
  ["Ctrl-Alt-Del", ["ctrl", "alt", "delete"]],
  ["Ctrl-Alt-Backspace", ["ctrl", "alt", "backspace"]],
  ["Ctrl-Alt-F1", ["ctrl", "alt", "f1"]],
  ["Ctrl-Alt-F2", ["ctrl", "alt", "f2"]],
  ["Ctrl-Alt-F7", ["ctrl", "alt", "f7"]],
  ["Alt-Tab", ["alt", "tab"]],
  ["Alt-F4", ["alt", "f4"]],
  ["Windows", ["meta_l"]],
  ["Print", ["print"]],
  ["Esc", ["esc"]],
];

const at = (id) => document.getElementById(id);
const socket = (name) => {
  const url = new URL(name, location.href);
  url.protocol = "ws:";
  return url.href;
};

// Two lines: a save that takes long does not keep the other from looking.
const monitor = new Monitor(socket("monitor"));
const watcher = new Monitor(socket("monitor"));
let state = "connecting";

function say(text) {
  at("message").textContent = text;
  at("message").hidden = !text;
}

async function act(work) {
  try {
    say("");
    await work();
  } catch (error) {
    say(error.message);
  }
}

function show(status) {
  state = status;
  const pill = at("state");
  pill.textContent = status === "gone" ? "ended" : status;
  pill.dataset.state = status;
  const there = status !== "gone" && status !== "connecting";
  for (const id of ["pause", "powerdown", "reset", "quit", "cd", "save"]) at(id).disabled = !there;
  for (const button of at("keys").children) button.disabled = !there;
  at("pause").textContent = status === "running" ? "Pause" : "Resume";
}

async function look() {
  const status = await watcher.run("query-status");
  show(status.status);
}

// The screen. What is lossy is not asked for: the page is on the guest's own machine, and a picture of it is exact.
const { clientEncodings } = RFB.messages;
RFB.messages.clientEncodings = (sock, list) => clientEncodings(sock, list.filter((number) => number < -32 || number > -23));
let rfb = null;
function connect() {
  rfb = new RFB(at("screen"), socket("screen"), { shared: true });
  rfb.scaleViewport = true;
  rfb.background = "#000";
  rfb.addEventListener("connect", () => {
    at("shot").disabled = false;
    at("screen").querySelector("canvas").setAttribute("aria-label", "The guest's screen");
    rfb.focus();
  });
  rfb.addEventListener("disconnect", () => {
    at("shot").disabled = true;
    // The VNC server lets slow viewers go; the guest may be there all the same.
    if (state !== "gone") setTimeout(connect, 1000);
  });
}

// All keys are the guest's, but for the way out.
window.addEventListener("keydown", (event) => {
  if (event.ctrlKey && event.altKey && event.code === "KeyG" && at("screen").contains(document.activeElement)) {
    event.preventDefault();
    event.stopImmediatePropagation();
    if (document.fullscreenElement) document.exitFullscreen();
    rfb.blur();
    at("pause").focus();
  }
}, { capture: true });

function sure(title, text, yes) {
  at("sure-title").textContent = title;
  at("sure-text").textContent = text;
  at("sure-yes").textContent = yes;
  const dialog = at("sure-dialog");
  dialog.returnValue = "cancel";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

at("pause").addEventListener("click", () => act(() => monitor.run(state === "running" ? "stop" : "cont")));
at("powerdown").addEventListener("click", () => act(() => monitor.run("system_powerdown")));
at("reset").addEventListener("click", () => act(async () => {
  if (await sure("Reset the guest?", "It begins anew at once; what it has not written to its disks is lost.", "Reset")) {
    await monitor.run("system_reset");
  }
}));
at("quit").addEventListener("click", () => act(async () => {
  if (await sure("Switch the guest off?", "As if its plug were pulled: what it has not written to its disks is lost.", "Switch off")) {
    await monitor.run("quit");
  }
}));
for (const [label, keys] of KEYS) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = label;
  button.disabled = true;
  const list = keys.map((key) => ({ type: "qcode", data: key }));
  button.addEventListener("click", () => act(() => monitor.run("send-key", { keys: list, "hold-time": 60 })));
  at("keys").append(button);
}
at("full").addEventListener("click", () => act(async () => {
  await at("screen").requestFullscreen();
  rfb.focus();
}));
at("shot").addEventListener("click", () => {
  rfb.toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${at("name").textContent}.png`;
    link.click();
    URL.revokeObjectURL(link.href);
  }, "image/png");
});

// What it plays, if somebody wants to hear it.
const sound = new Sound(socket("screen"));
sound.addEventListener("change", () => {
  at("sound").setAttribute("aria-pressed", String(sound.state !== "off"));
  at("sound").dataset.state = sound.state;
});
at("sound").addEventListener("click", () => act(async () => {
  if (sound.state === "off") sound.start();
  else sound.stop();
}));

// Menus close when something in them is done, or when the focus is elsewhere.
for (const menu of document.querySelectorAll("details.menu")) {
  const shut = () => { menu.open = false; };
  menu.querySelectorAll("button").forEach((button) => button.addEventListener("click", shut));
  menu.addEventListener("focusout", (event) => { if (!menu.contains(event.relatedTarget)) shut(); });
  menu.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      shut();
      menu.querySelector("summary").focus();
    }
  });
}

// The CD.
let drives = [];
const drive = () => drives.find(({ device }) => device === at("cd-drive").value);
async function lookIntoDrives() {
  const all = await watcher.run("query-block");
  drives = all.filter(({ removable }) => removable).map((info) => ({ ...info, device: info.device || info.qdev }));
  const chosen = at("cd-drive").value;
  at("cd-drive").replaceChildren(...drives.map(({ device }) => new Option(device, device, false, device === chosen)));
  const now = drive();
  const file = now?.inserted?.file;
  at("cd-now").textContent = now ? (file ? `In it: ${file}` : "It is empty.") : "The guest has no CD drive.";
  at("cd-insert").disabled = !now;
  at("cd-eject").disabled = !file;
}
async function inDialog(name, work) {
  const error = at(`${name}-error`);
  error.textContent = "";
  try {
    await work();
  } catch (problem) {
    error.textContent = problem.message;
  }
}
at("cd").addEventListener("click", () => {
  at("cd-dialog").showModal();
  inDialog("cd", lookIntoDrives);
});
at("cd-drive").addEventListener("change", () => inDialog("cd", lookIntoDrives));
at("cd-insert").addEventListener("click", () => inDialog("cd", async () => {
  const filename = at("cd-file").value.trim();
  if (!filename) throw new Error("Name an image.");
  await monitor.run("blockdev-change-medium", { device: drive().device, filename, format: "raw" });
  await lookIntoDrives();
}));
at("cd-eject").addEventListener("click", () => inDialog("cd", async () => {
  await monitor.run("eject", { device: drive().device });
  await lookIntoDrives();
}));
const enter = (field, button) => at(field).addEventListener("keydown", (event) => {
  if (event.key === "Enter") {
    event.preventDefault();
    at(button).click();
  }
});
enter("cd-file", "cd-insert");
enter("save-file", "save-start");

// Saving.
function saving(part) {
  at("save-start").hidden = part === "done";
  at("save-start").disabled = part === "busy";
  for (const id of ["save-end", "save-on", "save-done"]) at(id).hidden = part !== "done";
}
at("save").addEventListener("click", () => {
  saving("new");
  at("save-progress").value = 0;
  at("save-error").textContent = "";
  at("save-dialog").showModal();
});
at("save-start").addEventListener("click", () => inDialog("save", async () => {
  const filename = at("save-file").value.trim();
  if (!filename) throw new Error("Name a file.");
  saving("busy");
  at("save-progress").value = 0;
  try {
    await monitor.run("save", { filename });
  } catch (error) {
    saving("new");
    throw error;
  }
  at("save-progress").value = 1;
  saving("done");
  at("save-on").focus();
}));
watcher.addEventListener("SAVE_PROGRESS", ({ detail }) => {
  at("save-progress").value = detail.total ? detail.transferred / detail.total : 0;
});
at("save-on").addEventListener("click", () => inDialog("save", async () => {
  await monitor.run("cont");
  at("save-dialog").close();
}));
at("save-end").addEventListener("click", () => inDialog("save", async () => {
  await monitor.run("quit");
  at("save-dialog").close();
}));

// What the guest does.
const tree = new Tree(at("tree"));
const activity = new Activity(at("activity"), at("idle"));
async function watch() {
  const text = await watcher.run("inspect", {});
  const now = performance.now();
  const node = parse(text);
  const counts = new Map();
  for (const [name, device] of node.get("device") ?? []) {
    if (device.has?.("accesses")) counts.set(name, Number(device.get("accesses")));
  }
  activity.take(counts, now);
  tree.show(node);
  await look();
}
function watchOn() {
  const seen = document.hidden ? Promise.resolve() : watch();
  seen.catch(() => {}).finally(() => { if (state !== "gone") setTimeout(watchOn, 1000); });
}

for (const name of ["STOP", "RESUME", "RESET", "SUSPEND", "WAKEUP"]) {
  watcher.addEventListener(name, () => look().catch(() => {}));
}
watcher.addEventListener("end", () => {
  show("gone");
  say("The guest has ended.");
});
watcher.run("query-name").then(({ name }) => {
  at("name").textContent = name ?? "Guest";
  document.title = `${name ?? "Guest"} – Ailurus`;
}).catch(() => {});
connect();
watchOn();
