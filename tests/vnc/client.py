"""Looks at a guest and types in it with vncdotool, a VNC client that is not ours.

Started by `cargo xtask viewers` with the program's path, the folder of the guests and one for what comes of it. Ends with
status 0 when everything was as expected; otherwise the first difference is the exception's text.
"""

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

from PIL import Image, ImageChops
from vncdotool import api
from vncdotool.client import VNCDoToolFactory

PATIENCE = 240
PASSWORD = "sesame12"

# It holds Shift for what is above a key, as a person does.
VNCDoToolFactory.force_caps = True


def until(what, test):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if test():
            return
        time.sleep(0.2)
    raise AssertionError(f"it never came: {what}")


class Guest:
    """A guest with a shell on its screen, whose serial line says what came of what was typed."""

    def __init__(self, program, guests, folder):
        self.program, self.folder = program, folder
        self.serial, self.monitor, self.log = (folder / name for name in ("serial", "monitor", "log"))
        guests = Path(guests)
        arguments = ["run", "--memory", "256", "--display", "vnc=127.0.0.1:100,to=9999,password=on"]
        arguments += ["--kernel", guests / "generic.vmlinuz", "--initrd", guests / "generic.initrd"]
        arguments += ["--append", "console=ttyS0,115200 console=tty0 ailurus=shell quiet"]
        arguments += ["--serial", f"file:{self.serial}", "--monitor", f"unix:{self.monitor}"]
        self.process = subprocess.Popen([program, *arguments], stderr=self.log.open("w"), stdin=subprocess.DEVNULL)
        until("the monitor", self.monitor.exists)
        self.qmp("change-vnc-password", password=PASSWORD)
        info = self.qmp("query-vnc")
        self.server = f"{info['host']}::{info['service']}"

    def qmp(self, command, **arguments):
        with socket.socket(socket.AF_UNIX) as stream:
            stream.connect(str(self.monitor))
            lines = stream.makefile("rw")
            for name, members in [("qmp_capabilities", {}), (command, arguments)]:
                lines.write(json.dumps({"execute": name, "arguments": members, "id": name}) + "\n")
                lines.flush()
            for line in lines:
                answer = json.loads(line)
                if answer.get("id") == command:
                    return answer["return"]
        raise AssertionError(f"no answer to {command}")

    def says(self, text):
        return self.serial.exists() and text in self.serial.read_text(errors="replace")

    def connect(self, password=PASSWORD):
        return api.connect(self.server, password=password, timeout=PATIENCE)

    def screenshot(self):
        file = self.folder / "own.png"
        subprocess.run([self.program, "screenshot", "--monitor", f"unix:{self.monitor}", file], check=True)
        return Image.open(file).convert("RGB")

    def is_seen_by(self, client, name):
        """Whether the client's picture is the guest's, to the pixel."""
        file = self.folder / f"{name}.png"
        client.captureScreen(str(file))
        seen, own = Image.open(file).convert("RGB"), self.screenshot()
        return seen.size == own.size and ImageChops.difference(seen, own).getbbox() is None


def type_line(client, text):
    for letter in text:
        client.keyPress({" ": "space"}.get(letter, letter))
        time.sleep(0.03)
    client.keyPress("enter")


def main():
    program, guests, folder = sys.argv[1:]
    guest = Guest(program, guests, Path(folder))
    try:
        one, other = guest.connect(), guest.connect()

        def has_shell():
            type_line(one, "echo up-$((40+2)) > /dev/ttyS0")
            time.sleep(1)
            return guest.says("up-42")

        until("the guest's shell", has_shell)
        assert len(guest.qmp("query-vnc")["clients"]) == 2
        type_line(one, "echo 0 > /sys/class/graphics/fbcon/cursor_blink; clear; cat /proc/cpuinfo")
        # The cursor of text mode blinks: of several pictures one is taken at the same time.
        until("the same picture for one", lambda: guest.is_seen_by(one, "one"))
        until("the same picture for the other", lambda: guest.is_seen_by(other, "other"))
        type_line(other, "echo Both $((1+1)) {of} Them > /dev/ttyS0")
        until("what the other typed", lambda: guest.says("Both 2 {of} Them"))
        other.mouseMove(10, 10)
        other.mousePress(1)
        one.disconnect()
        other.disconnect()
        until("both gone", lambda: not guest.qmp("query-vnc")["clients"])
        wrong = guest.connect("wrong")
        try:
            wrong.timeout = 10
            wrong.refreshScreen()
        except Exception:
            pass
        else:
            raise AssertionError("a wrong password was taken")
        print("vncdotool: two at once, typing, pictures, a password: all as it should be")
    finally:
        guest.process.kill()
        api.shutdown()


main()
