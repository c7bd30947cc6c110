//! A guest that asks for names.

use guest_tests::place;

use super::switches::Apart;
use super::*;

/// A host with two resolvers, of which the first is dead, and a server whose name the second knows.
const HOST: &str = r#"
DIR=$2
PATH=$PATH:/usr/sbin:/sbin
ip link set lo up
printf 'nameserver 127.0.0.2\nnameserver 127.0.0.1\n' >$DIR/resolv.conf
mount --bind $DIR/resolv.conf /etc/resolv.conf
cat >$DIR/resolver.py <<'END'
import socket, struct, sys
dead = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
dead.bind(("127.0.0.2", 53))
alive = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
alive.bind(("127.0.0.1", 53))
open(sys.argv[1] + "/ready", "w").close()
while True:
    text, who = alive.recvfrom(2048)
    at, labels = 12, []
    while text[at]:
        labels.append(text[at + 1:at + 1 + text[at]].decode())
        at += 1 + text[at]
    kind, = struct.unpack(">H", text[at + 1:at + 3])
    known = ".".join(labels).lower() == "service.ailurus.test"
    answers = [bytes([10, 0, 2, 2])] if known and kind == 1 else []
    head = text[:2] + bytes([0x81, 0x80 if known else 0x83]) + struct.pack(">HHHH", 1, len(answers), 0, 0)
    body = b"".join(struct.pack(">HHHIH", 0xc00c, 1, 1, 60, 4) + address for address in answers)
    alive.sendto(head + text[12:at + 5] + body, who)
END
python3 -m http.server --bind 127.0.0.1 --directory $DIR/served 8000 &
exec python3 $DIR/resolver.py $DIR
"#;

#[test]
fn a_guest_finds_names_though_the_first_resolver_is_dead() {
    case("e1000 on user networking: names, with a dead resolver", || {
        let folder = place::temporary()?;
        let data = noise(1 << 20);
        std::fs::create_dir(folder.path().join("served"))?;
        std::fs::write(folder.path().join("served/data"), &data)?;
        let host = Apart::start(HOST, folder.path(), seconds(60))?;
        let mut guest =
            Machine::new()?.within(host.id()).card("e1000", "user").kernel("net", APPEND)?.boot()?;
        address(&mut guest)?;
        // Both kinds of addresses are asked for from one port.
        let said = run(&mut guest, "nslookup service.ailurus.test 10.0.2.3", seconds(60))?;
        ensure!(said.contains("10.0.2.2"), "another address");
        let line =
            format!("wget -q -O - http://service.ailurus.test:8000/data | sha256sum | grep {}", sum(&data));
        run(&mut guest, &line, seconds(60))?;
        run(&mut guest, "! nslookup nobody.ailurus.test 10.0.2.3", seconds(60))?;
        guest.type_line("poweroff -f")?;
        guest.wait_power_off(seconds(60))
    });
}
