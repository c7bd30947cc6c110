"""Drives the program with the qemu.qmp package, as tools of QEMU's do.

Started by `cargo xtask qmp` with the program's path and a folder for sockets and images. Ends with status 0 when
everything was as expected; otherwise the first difference is the exception's text.
"""

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

from qemu.qmp import ConnectError, ExecuteError, QMPClient

ISO = 2048 * 64
TIME = 20

# Commands that ask something and take no arguments that must be there.
QUERIES = """
query-version query-commands query-qmp-schema query-command-line-options query-status query-name query-uuid query-kvm
query-target query-current-machine query-machines query-memory-size-summary query-migrate query-cpus-fast query-cpus
query-hotpluggable-cpus query-cpu-definitions query-pci qom-list-types query-iothreads query-block query-named-block-nodes query-blockstats
query-chardev query-chardev-backends query-rx-filter query-fdsets query-vnc query-vnc-servers query-mice
""".split()


def same(found, expected, what):
    if found != expected:
        raise AssertionError(f"{what}: found {found!r}, expected {expected!r}")


class Guest:
    """The program with a paused guest, and a client at its monitor."""

    def __init__(self, program, folder):
        self.folder = Path(folder)
        self.iso = self.folder / "cd.iso"
        self.other = self.folder / "other.iso"
        for path in (self.iso, self.other):
            path.write_bytes(bytes(ISO))
        sockets = [self.folder / "qmp", self.folder / "second"]
        arguments = [program, "-machine", "pc", "-S", "-m", "64", "-display", "none", "-nodefaults"]
        arguments += ["-drive", f"file={self.iso},if=ide,index=2,media=cdrom,format=raw,readonly=on"]
        for number, path in enumerate(sockets):
            arguments += ["-chardev", f"socket,id=mon{number},path={path},server=on,wait=off"]
            arguments += ["-mon", f"chardev=mon{number},mode=control"]
        self.process = subprocess.Popen(arguments)
        self.sockets = sockets
        self.qmp = QMPClient("first")

    async def connect(self):
        await dial(self.qmp, self.sockets[0], self.process)

    async def fails(self, command, arguments, kind, words):
        try:
            answer = await self.qmp.execute(command, arguments)
        except ExecuteError as error:
            same((error.error_class, str(error)), (kind, words), f"{command} {arguments}")
        else:
            raise AssertionError(f"{command} {arguments}: answered {answer!r}, expected an error")


async def dial(client, path, process):
    """Connects, as soon as the program listens."""
    for _ in range(TIME * 10):
        if process.poll() is not None:
            raise AssertionError(f"the program ended with status {process.returncode}")
        try:
            return await client.connect(str(path))
        except ConnectError:
            await asyncio.sleep(0.1)
    raise AssertionError(f"nobody listens at {path}")


async def next_event(listener, name):
    """The next event, which must be of that name."""
    event = await asyncio.wait_for(listener.get(), TIME)
    same(event["event"], name, "event")
    stamp = event["timestamp"]
    assert stamp["seconds"] > 0 and 0 <= stamp["microseconds"] < 1_000_000, stamp
    return event.get("data")


async def queries(guest):
    greeting = guest.qmp.greeting
    assert greeting is not None and greeting.QMP.version["qemu"]["major"] >= 7, greeting
    same(greeting.QMP.capabilities, [], "capabilities")
    answers = {name: await guest.qmp.execute(name) for name in QUERIES}
    same(answers["query-status"]["status"], "prelaunch", "status")
    same(answers["query-memory-size-summary"]["base-memory"], 64 << 20, "memory")
    assert any(machine.get("is-default") for machine in answers["query-machines"])
    names = {entry["name"]: entry for entry in answers["query-qmp-schema"]}
    commands = {command["name"] for command in answers["query-commands"]}
    same(commands, {name for name, entry in names.items() if entry["meta-type"] == "command"}, "commands")
    for name, answer in answers.items():
        matches(names, names[name]["ret-type"], answer, name)
    functions = {(f["slot"], f["function"]) for f in answers["query-pci"][0]["devices"]}
    assert {(0, 0), (1, 0), (1, 1), (1, 3)} <= functions, functions
    text = await guest.qmp.execute("human-monitor-command", {"command-line": "info status"})
    same(text, "VM status: paused (prelaunch)\r\n", "info status")


def matches(names, name, value, where):
    """Whether an answer is what the introspection data says of it."""
    entry = names[name]
    kind = entry["meta-type"]
    if kind == "builtin":
        types = {"string": str, "int": int, "boolean": bool, "value": object}
        assert isinstance(value, types[entry["json-type"]]), f"{where}: {value!r} is no {name}"
    elif kind == "array":
        for index, element in enumerate(value):
            matches(names, entry["element-type"], element, f"{where}[{index}]")
    elif kind == "enum":
        assert value in entry["values"], f"{where}: {value!r} is no {name}"
    elif kind == "object":
        members = {member["name"]: member for member in entry["members"]}
        for member in members.values():
            assert "default" in member or member["name"] in value, f"{where}: {member['name']} is missing"
        for key, inner in value.items():
            if key in members:
                matches(names, members[key]["type"], inner, f"{where}.{key}")
            else:
                assert name == "SchemaInfo", f"{where}: nobody has heard of {key}"


async def objects(guest):
    qmp = guest.qmp
    children = await qmp.execute("qom-list", {"path": "/machine"})
    names = {child["name"] for child in children}
    assert {"type", "peripheral", "peripheral-anon", "unattached", "rtc-time"} <= names, names
    time = await qmp.execute("qom-get", {"path": "/machine", "property": "rtc-time"})
    assert time["tm_year"] >= 120 and 0 <= time["tm_mon"] < 12, time
    same(await qmp.execute("qom-get", {"path": "ioapic", "property": "type"}), "ioapic", "by name")
    cpu = (await qmp.execute("query-cpus-fast"))[0]["qom-path"]
    same(await qmp.execute("qom-get", {"path": cpu, "property": "type"}), "qemu64-x86_64-cpu", "type of the CPU")
    await qmp.execute("object-add", {"qom-type": "secret", "id": "sec0", "data": "abc"})
    same(len(await qmp.execute("qom-list", {"path": "/objects"})), 2, "objects")
    await qmp.execute("object-del", {"id": "sec0"})


async def errors(guest):
    generic = "GenericError"
    drive = (await guest.qmp.execute("query-block"))[0]["qdev"]
    for command, arguments, kind, words in [
        ("nonsense", {}, "CommandNotFound", "The command nonsense has not been found"),
        ("stop", {"x": 1}, generic, "Parameter 'x' is unexpected"),
        ("eject", {"id": 3}, generic, "Invalid parameter type for 'id', expected: string"),
        ("eject", {"device": "x"}, "DeviceNotFound", "Device 'x' not found"),
        ("balloon", {}, generic, "Parameter 'value' is missing"),
        ("balloon", {"value": 1}, "DeviceNotActive", "No balloon device has been activated"),
        ("set_link", {"name": "x", "up": True}, "DeviceNotFound", "Device 'x' not found"),
        ("netdev_add", {"type": "vde", "id": "n"}, generic, "Parameter 'type' does not accept value 'vde'"),
        ("device_add", {"driver": "frob"}, generic, "'frob' is not a valid device model name"),
        ("device_add", {"driver": "ide-hd"}, generic, "Bus 'ide.0' does not support hotplugging"),
        ("device_del", {"id": "zz"}, "DeviceNotFound", "Device 'zz' not found"),
        ("system_wakeup", {}, generic, "Unable to wake up: guest is not in suspended state"),
        ("input-send-event", {"events": []}, generic, "VM not running"),
        ("blockdev-remove-medium", {"id": drive}, generic, f"Tray of device '{drive}' is not open"),
        ("blockdev-insert-medium", {"id": drive, "node-name": "n"}, generic, "Node 'n' not found"),
        (
            "blockdev-add",
            {"driver": "file", "filename": "/nonexistent", "node-name": "n"},
            generic,
            "Could not open '/nonexistent': No such file or directory",
        ),
        ("blockdev-del", {"node-name": "n"}, generic, "Failed to find node with node-name='n'"),
        ("chardev-remove", {"id": "mon0"}, generic, "Chardev 'mon0' is busy"),
        ("qom-get", {"path": "/machine", "property": "frob"}, generic, "Property 'pc-i440fx-7.2-machine.frob' not found"),
    ]:
        await guest.fails(command, arguments, kind, words)
    answer = await guest.qmp.execute_msg(guest.qmp.make_execute_msg("query-status"))
    same(answer["status"], "prelaunch", "after the errors")


async def trays(guest, listener):
    qmp = guest.qmp
    device = (await qmp.execute("query-block"))[0]
    name, drive = device["device"], device["qdev"]
    same((name, device["inserted"]["file"]), ("ide1-cd0", str(guest.iso)), "the drive")

    async def moved(opened):
        data = await next_event(listener, "DEVICE_TRAY_MOVED")
        same(data, {"device": name, "id": drive, "tray-open": opened}, "tray")

    await qmp.execute("blockdev-open-tray", {"device": name})
    await moved(True)
    node = {"driver": "raw", "node-name": "new", "read-only": True}
    node["file"] = {"driver": "file", "filename": str(guest.other)}
    await qmp.execute("blockdev-add", node)
    insert = {"id": drive, "node-name": "new"}
    await guest.fails("blockdev-insert-medium", insert, "GenericError", "There already is a medium in the device")
    await qmp.execute("blockdev-remove-medium", {"id": drive})
    await qmp.execute("blockdev-insert-medium", insert)
    await guest.fails("blockdev-insert-medium", insert, "GenericError", "Node 'new' is already in use")
    await guest.fails("blockdev-del", {"node-name": "new"}, "GenericError", "Node new is in use")
    await qmp.execute("blockdev-close-tray", {"device": name})
    await moved(False)
    block = (await qmp.execute("query-block"))[0]
    same((block["inserted"]["node-name"], block["inserted"]["file"]), ("new", str(guest.other)), "the medium")
    nodes = await qmp.execute("query-named-block-nodes")
    assert "new" in {node["node-name"] for node in nodes}, nodes
    await qmp.execute("eject", {"device": name})
    await moved(True)
    await qmp.execute("blockdev-del", {"node-name": "new"})
    await qmp.execute("blockdev-change-medium", {"id": drive, "filename": str(guest.iso), "format": "raw"})
    await moved(False)


async def files(guest):
    """Files come over the socket beside the bytes."""
    qmp = guest.qmp
    await guest.fails("getfd", {"fdname": "a"}, "GenericError", "No file descriptor supplied via SCM_RIGHTS")
    with open(guest.other, "rb") as medium:
        qmp.send_fd_scm(medium.fileno())
        added = await qmp.execute("add-fd", {"opaque": "raw:other"})
        qmp.send_fd_scm(medium.fileno())
        await qmp.execute("getfd", {"fdname": "a"})
    await qmp.execute("closefd", {"fdname": "a"})
    sets = await qmp.execute("query-fdsets")
    same([entry["fdset-id"] for entry in sets], [added["fdset-id"]], "fd sets")
    name = f"/dev/fdset/{added['fdset-id']}"
    await qmp.execute("blockdev-change-medium", {"device": "ide1-cd0", "filename": name, "format": "raw"})
    await qmp.execute("remove-fd", {"fdset-id": added["fdset-id"]})
    same(await qmp.execute("query-fdsets"), [], "fd sets")
    # One that is no file at all.
    left, right = socket.socketpair()
    qmp.send_fd_scm(left.fileno())
    added = await qmp.execute("add-fd", {})
    change = {"device": "ide1-cd0", "filename": f"/dev/fdset/{added['fdset-id']}", "format": "raw"}
    try:
        await qmp.execute("blockdev-change-medium", change)
    except ExecuteError:
        pass
    else:
        raise AssertionError("a socket is no medium")
    left.close()
    right.close()


async def running(guest, listener):
    qmp = guest.qmp
    await qmp.execute("cont")
    await next_event(listener, "RESUME")
    same((await qmp.execute("query-status"))["running"], True, "running")
    key = {"type": "qcode", "data": "a"}
    press = [{"type": "key", "data": {"down": down, "key": key}} for down in (True, False)]
    await qmp.execute("input-send-event", {"events": press})
    place = [{"type": "abs", "data": {"axis": "x", "value": 3}}]
    words = "Input handler not found for event type abs"
    await guest.fails("input-send-event", {"events": place}, "GenericError", words)
    await qmp.execute("send-key", {"keys": [key], "hold-time": 1})
    await qmp.execute("stop")
    await next_event(listener, "STOP")
    await qmp.execute("system_reset")
    same(await next_event(listener, "RESET"), {"guest": False, "reason": "host-qmp-system-reset"}, "reset")
    await qmp.execute("system_powerdown")
    await next_event(listener, "POWERDOWN")


def nonsense(path):
    """Clients that do not know how to behave."""
    for text in (b"{\"execute\":", b"[" * 5000 + b"\n", b"{\"a\":\"" + b"x" * 4096, b"\xff\xfe\n", b"}{][\n" * 100):
        with socket.socket(socket.AF_UNIX) as stream:
            stream.connect(str(path))
            stream.recv(4096)
            stream.sendall(text)


async def work(program, folder):
    guest = Guest(program, folder)
    try:
        await guest.connect()
        with guest.qmp.listener() as listener:
            await queries(guest)
            await objects(guest)
            await errors(guest)
            await trays(guest, listener)
        await files(guest)
        nonsense(guest.sockets[1])
        second = QMPClient("second")
        await dial(second, guest.sockets[1], guest.process)
        names = ["RESUME", "STOP", "RESET", "POWERDOWN", "SHUTDOWN"]
        with guest.qmp.listener(names) as listener, second.listener(names) as other:
            await running(guest, listener)
            for name in names[:-1]:
                await next_event(other, name)
            await second.execute("quit")
            same(await next_event(listener, "SHUTDOWN"), {"guest": False, "reason": "host-qmp-quit"}, "end")
        for client in (guest.qmp, second):
            try:
                await client.disconnect()
            except (EOFError, OSError):
                pass  # The program hung up first.
        same(guest.process.wait(TIME), 0, "status")
        same([path for path in guest.sockets if path.exists()], [], "sockets that are left")
    finally:
        guest.process.kill()
        guest.process.wait()


if __name__ == "__main__":
    asyncio.run(work(*sys.argv[1:]))
    print("the qemu.qmp client found what it expects")
