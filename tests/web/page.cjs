// The page of `--display web` in a browser that nobody sees: `cargo xtask web` says what is in the environment.
// The one argument is a folder for pictures, the guest's files and the log.
"use strict";

const assert = require("node:assert/strict");
const { spawn, execFileSync } = require("node:child_process");
const fs = require("node:fs");
const http = require("node:http");
const path = require("node:path");
const { chromium } = require("playwright-core");

const { AILURUS, AILURUS_GUESTS, BROWSER_ROOT } = process.env;
const folder = path.resolve(process.argv[2]);
const file = (name) => path.join(folder, name);
const LONG = 180_000;

// A guest with a console on its screen and a serial line that says what came of it.
function start() {
  fs.writeFileSync(file("one.iso"), Buffer.alloc(1 << 20, 1));
  fs.writeFileSync(file("two.iso"), Buffer.alloc(2 << 20, 2));
  const words = [
    "run", "--name", "seen", "--memory", "256", "--display", "web",
    "--kernel", path.join(AILURUS_GUESTS, "generic.vmlinuz"), "--initrd", path.join(AILURUS_GUESTS, "generic.initrd"),
    "--append", "console=ttyS0,115200 console=tty0 ailurus=shell quiet",
    "--cdrom", file("one.iso"), "--serial", `file:${file("serial")}`, "--monitor", `unix:${file("monitor")}`,
  ];
  const guest = spawn(AILURUS, words, { stdio: ["ignore", "ignore", "pipe"] });
  const ended = new Promise((resolve) => guest.on("exit", resolve));
  const url = new Promise((resolve, reject) => {
    let said = "";
    guest.stderr.on("data", (data) => {
      said += data;
      fs.appendFileSync(file("log"), data);
      const found = /page is (http:\S+)/.exec(said);
      if (found) resolve(found[1]);
    });
    guest.on("exit", () => reject(new Error(`the guest ended: ${said}`)));
  });
  return { guest, ended, url };
}

async function until(what, test) {
  const end = Date.now() + LONG;
  while (Date.now() < end) {
    if (await test()) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error(`it never came: ${what}`);
}

const serial = () => (fs.existsSync(file("serial")) ? fs.readFileSync(file("serial"), "latin1") : "");
const says = (text) => until(`the guest says ${text}`, () => serial().includes(text));

// A request by hand; its status.
function ask(url, headers = {}) {
  return new Promise((resolve, reject) => {
    const request = http.get(url, { headers }, (answer) => {
      answer.resume();
      answer.on("end", () => resolve({ status: answer.statusCode, headers: answer.headers }));
    });
    request.on("upgrade", (answer, socket) => {
      socket.destroy();
      resolve({ status: answer.statusCode, headers: answer.headers });
    });
    request.on("error", reject);
  });
}

const opening = (origin) => ({
  Connection: "Upgrade", Upgrade: "websocket", Origin: origin,
  "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13",
});

// Who has not the token, or comes from elsewhere, gets nothing.
async function refuses(url) {
  const origin = new URL(url).origin;
  const status = async (at, headers) => (await ask(at, headers)).status;
  assert.equal(await status(url), 200);
  assert.equal(await status(`${origin}/`), 403);
  assert.equal(await status(`${origin}/page.js`), 403);
  assert.equal(await status(`${url}nothing`), 404);
  assert.equal(await status(url, { Origin: "http://evil.example" }), 403);
  assert.equal(await status(url, { Host: "evil.example" }), 403);
  for (const name of ["screen", "monitor"]) {
    assert.equal(await status(url + name), 426);
    assert.equal(await status(url + name, opening("http://evil.example")), 403);
    assert.equal(await status(url + name, opening("http://localhost:1")), 403);
    assert.equal(await status(`${origin}/${name}`, opening(origin)), 403);
    assert.equal(await status(url + name, opening(origin)), 101);
  }
  const { headers } = await ask(url);
  assert.match(headers["content-security-policy"], /default-src 'none'/);
  assert.equal(headers["referrer-policy"], "no-referrer");
}

async function launch() {
  const own = fs.existsSync(path.join(BROWSER_ROOT ?? "/nowhere", "usr/lib/chromium/chromium"));
  const folders = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu/pulseaudio"];
  const libraries = folders.map((name) => path.join(BROWSER_ROOT ?? "", name)).join(":");
  const fonts = file("fonts.conf");
  fs.writeFileSync(fonts, `<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig>
    <dir>${path.join(BROWSER_ROOT ?? "", "usr/share/fonts")}</dir><cachedir>${file("fonts")}</cachedir></fontconfig>`);
  return chromium.launch({
    executablePath: own ? path.join(BROWSER_ROOT, "usr/lib/chromium/chromium") : "/usr/bin/chromium",
    env: own ? { ...process.env, LD_LIBRARY_PATH: libraries, FONTCONFIG_FILE: fonts, HOME: folder } : process.env,
    args: [
      "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync",
    ],
  });
}

// The screen as the page has it, and as the guest's process says that it is.
async function sameAsScreenshot(page) {
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#shot")]);
  const seen = file("page-shot.png");
  await download.saveAs(seen);
  const own = file("own-shot.png");
  execFileSync(AILURUS, ["screenshot", "--monitor", `unix:${file("monitor")}`, own]);
  return page.evaluate(async ([one, other]) => {
    const pixels = async (data) => {
      const image = new Image();
      image.src = `data:image/png;base64,${data}`;
      await image.decode();
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [image.width, image.height];
      const pen = canvas.getContext("2d");
      pen.drawImage(image, 0, 0);
      return { width: image.width, height: image.height, data: pen.getImageData(0, 0, image.width, image.height).data };
    };
    const [a, b] = [await pixels(one), await pixels(other)];
    return a.width === b.width && a.height === b.height && a.data.every((byte, at) => byte === b.data[at]);
  }, [seen, own].map((name) => fs.readFileSync(name).toString("base64")));
}

const state = (page, text) => page.waitForFunction(
  (text) => document.getElementById("state").textContent === text, text, { timeout: LONG });

async function work(url) {
  const browser = await launch();
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, acceptDownloads: true });
  const page = await context.newPage();
  page.setDefaultTimeout(LONG);
  const wrong = [];
  page.on("pageerror", (error) => wrong.push(error.message));
  page.on("console", (line) => { if (line.type() === "error") wrong.push(line.text()); });
  const elsewhere = [];
  page.on("request", (request) => { if (!/^(http:\/\/127\.0\.0\.1:|data:|blob:)/.test(request.url())) elsewhere.push(request.url()); });
  await page.goto(url);
  await state(page, "running");
  assert.equal(await page.textContent("#name"), "seen");

  // A login, typed on the screen.
  const type = async (text) => {
    await page.focus("#screen canvas");
    // With Shift as a person holds it: the guest is told of keys, not of letters.
    for (const letter of text) {
      const shift = /[A-Z~!@#$%^&*()_+{}|:"<>?]/.test(letter);
      if (shift) await page.keyboard.down("Shift");
      await page.keyboard.press(letter, { delay: 20 });
      if (shift) await page.keyboard.up("Shift");
    }
    await page.keyboard.press("Enter");
  };
  // What is typed before there is a shell is for nobody.
  await until("the guest's shell", async () => {
    await type("echo up > /dev/ttyS0");
    await page.waitForTimeout(1000);
    return serial().includes("up");
  });
  const before = await page.evaluate(() => document.querySelector("#screen canvas").toDataURL());
  await type("mkdir -p /etc; echo root::0:0::/root:/bin/sh > /etc/passwd; echo ready > /dev/ttyS0; login");
  await says("ready");
  // What comes before the prompt is dropped by it.
  await page.waitForTimeout(3000);
  await type("root");
  await until("a login", async () => {
    await page.waitForTimeout(3000);
    await type("echo logged-in-$((40+2)) as $LOGNAME > /dev/ttyS0");
    await page.waitForTimeout(1000);
    return serial().includes("logged-in-42 as root");
  });
  const after = await page.evaluate(() => document.querySelector("#screen canvas").toDataURL());
  assert.notEqual(before, after, "the picture has not changed");

  // The page shows what the guest's process shows, to the pixel.
  await type("echo 0 > /sys/class/graphics/fbcon/cursor_blink; setterm -cursor off; clear; cat /proc/cpuinfo");
  await until("the same picture as the screenshot's", () => sameAsScreenshot(page));
  await page.screenshot({ path: file("wide.png") });

  // The CD.
  await type("mkdir -p /mnt; wc -c < /dev/sr0 > /dev/ttyS0");
  await says("1048576");
  await page.click("#cd");
  await page.waitForFunction(() => document.getElementById("cd-now").textContent.includes("one.iso"));
  await page.fill("#cd-file", file("nothing.iso"));
  await page.click("#cd-insert");
  await page.waitForFunction(() => document.getElementById("cd-error").textContent !== "");
  await page.fill("#cd-file", file("two.iso"));
  await page.click("#cd-insert");
  await page.waitForFunction(() => document.getElementById("cd-now").textContent.includes("two.iso"));
  await page.screenshot({ path: file("cd.png") });
  await page.click("#cd-dialog button[value=cancel]");
  // The first read tells Linux that it is another one.
  await until("the other CD in the guest", async () => {
    await type("wc -c < /dev/sr0 > /dev/ttyS0");
    await page.waitForTimeout(2000);
    return serial().includes("2097152");
  });

  // By the keyboard alone: out of the screen, to a button, through a menu and a dialog.
  await page.focus("#screen canvas");
  await page.keyboard.press("Control+Alt+KeyG");
  assert.equal(await page.evaluate(() => document.activeElement.id), "pause");
  await page.keyboard.press("Enter");
  await state(page, "paused");
  await page.keyboard.press("Enter");
  await state(page, "running");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.id), "reset");
  await page.screenshot({ path: file("menu.png") });
  await page.keyboard.press("Enter");
  await page.waitForSelector("#sure-dialog[open]");
  await page.keyboard.press("Escape");
  assert.equal(await page.evaluate(() => document.getElementById("sure-dialog").open), false);
  await page.click("#tree summary:text-is('device')");
  await page.click("#tree summary:text-is('ide')");
  await until("a device's accesses in the tree", () => page.evaluate(() => /accesses/.test(document.getElementById("tree").innerText)));
  assert.ok(await page.evaluate(() => document.querySelectorAll("#activity tbody tr").length) > 0, "no device is active");

  // Other sizes: nothing sticks out, all buttons can be seen.
  for (const [name, width, height] of [["middle", 900, 700], ["narrow", 390, 844]]) {
    await page.setViewportSize({ width, height });
    await page.waitForTimeout(500);
    const out = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.ok(out <= 0, `${name}: ${out} pixels too wide`);
    for (const id of ["pause", "cd", "save", "shot", "full"]) {
      const box = await page.locator(`#${id}`).boundingBox();
      assert.ok(box && box.x >= 0 && box.x + box.width <= width, `${name}: ${id} is not to be seen`);
    }
    const screen = await page.locator("#screen canvas").boundingBox();
    assert.ok(screen.width > 200 && screen.height > 100, `${name}: the screen is too small`);
    await page.screenshot({ path: file(`${name}.png`), fullPage: true });
  }

  // Saved, and ended.
  await page.setViewportSize({ width: 1440, height: 900 });
  await page.click("#save");
  await page.fill("#save-file", file("guest.saved"));
  await page.keyboard.press("Enter");
  await page.waitForSelector("#save-on:visible");
  await state(page, "paused");
  await page.screenshot({ path: file("saved.png") });
  assert.ok(fs.statSync(file("guest.saved")).size > 1 << 20);
  await page.click("#save-on");
  await state(page, "running");
  await page.click("summary:has-text('Power')");
  await page.click("#quit");
  await page.click("#sure-yes");
  await state(page, "ended");
  await page.screenshot({ path: file("ended.png") });
  await browser.close();
  assert.deepEqual(elsewhere, [], "something was asked of another server");
  // The connections' ends, when the guest is gone.
  const faults = wrong.filter((text) => !/WebSocket connection|net::ERR_|close/i.test(text));
  assert.deepEqual(faults, []);
}

async function main() {
  const { guest, ended, url } = start();
  try {
    await refuses(await url);
    await work(await url);
    assert.equal(await ended, 0);
    console.log("the page: login, picture, CD, keyboard, three sizes, save, end: all as it should be");
  } finally {
    guest.kill();
  }
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
