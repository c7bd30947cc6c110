//! Guests on switches of other programs: Open vSwitch with DPDK, passt.
//!
//! Both run in a network of their own (`unshare -Urnm`), where an ordinary user may make interfaces.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use guest_tests::{Program, place};

use super::*;

/// A program in a network of its own. It ends, and all that it has started, when this is dropped.
pub(super) struct Apart(Child);

impl Apart {
    /// Runs a shell script with the packages' folder and `folder` as its arguments, and waits for its file `ready`.
    pub(super) fn start(script: &str, folder: &Path, patience: Duration) -> Result<Apart> {
        let log = std::fs::File::create(folder.join("log"))?;
        let child = Command::new("unshare")
            .args(["-Urnm", "--pid", "--fork", "--kill-child", "sh", "-e", "-c", script, "switch"])
            .args([place::packages()?.as_path(), folder])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("unshare (util-linux) does not start")?;
        let mut apart = Apart(child);
        let end = Instant::now() + patience;
        while !folder.join("ready").exists() {
            let said = || std::fs::read_to_string(folder.join("log")).unwrap_or_default();
            ensure!(apart.0.try_wait()?.is_none(), "it ended: {}", said());
            ensure!(Instant::now() < end, "it does not come up: {}", said());
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(apart)
    }

    /// The process whose namespaces are that network's.
    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A bridge of Open vSwitch with two ports of shared memory, without huge pages. OVS adds `--in-memory`, which goes
/// with no `--no-huge`, unless it is told `--legacy-mem`; and it needs memory for each port by itself, since the one
/// pool that it would make is too large for that.
const OVS: &str = r#"
ROOT=$1 DIR=$2 LIB=$1/usr/lib/x86_64-linux-gnu
export LD_LIBRARY_PATH=$LIB XDG_RUNTIME_DIR=$DIR
export OVS_RUNDIR=$DIR OVS_LOGDIR=$DIR OVS_DBDIR=$DIR OVS_SYSCONFDIR=$DIR
PATH=$ROOT/usr/bin:$ROOT/usr/sbin:$PATH:/usr/sbin:/sbin
ovsdb-tool create $DIR/conf.db $ROOT/usr/share/openvswitch/vswitch.ovsschema
ovsdb-server $DIR/conf.db --remote=punix:$DIR/db.sock --pidfile=$DIR/db.pid &
until [ -S $DIR/db.sock ]; do sleep 0.1; done
vsctl="ovs-vsctl --db=unix:$DIR/db.sock --timeout=30"
$vsctl --no-wait set Open_vSwitch . other_config:dpdk-init=true \
    other_config:dpdk-lcore-mask=0x1 other_config:pmd-cpu-mask=0x2 other_config:per-port-memory=true \
    other_config:dpdk-extra="--no-huge --no-pci -m 512 --iova-mode=va --legacy-mem -d librte_mempool_ring.so.23"
$ROOT/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk unix:$DIR/db.sock --pidfile=$DIR/vswitchd.pid &
$vsctl add-br br0 -- set bridge br0 datapath_type=netdev
for port in 0 1; do
    $vsctl add-port br0 port$port -- set Interface port$port \
        type=dpdkvhostuserclient options:vhost-server-path=$DIR/port$port
done
touch $DIR/ready
wait
"#;

/// The guest has an address, and its link is up.
fn configured(guest: &mut Guest, address: &str) -> Result<()> {
    guest.wait_for("ailurus:/root#", seconds(240))?;
    run(guest, &format!("ip link set lo up; ifconfig eth0 {address} up"), seconds(60))?;
    let up = "until grep 1 /sys/class/net/eth0/carrier; do sleep 1; done";
    run(guest, up, seconds(60)).map(drop)
}

#[test]
#[ignore = "all: brings Open vSwitch, which keeps a processor busy"]
fn two_guests_talk_over_open_vswitch_by_shared_memory() {
    case("e1000 and rtl8139 on Open vSwitch with DPDK", || {
        let folder = place::temporary()?;
        let port =
            |number: u32| format!("vhost-user:{}", folder.path().join(format!("port{number}")).display());
        let guest = |card: &str, net: &str| Machine::new()?.card(card, net).kernel("net", APPEND)?.boot();
        let mut one = guest("e1000", &port(0))?;
        let mut other = guest("rtl8139,mac=52:54:00:12:34:57", &port(1))?;
        // It connects to both, and again when it was gone.
        for round in 0..2 {
            let _switch = Apart::start(OVS, folder.path(), seconds(60))?;
            if round == 0 {
                configured(&mut one, "10.1.1.1")?;
                configured(&mut other, "10.1.1.2")?;
            }
            let said = run(
                &mut other,
                "until ping -c 1 -W 1 10.1.1.1; do :; done; ping -c 1000 -A -q 10.1.1.1",
                seconds(120),
            )?;
            ensure!(said.contains("1000 packets transmitted, 1000 packets received"), "pings were lost");
            copy(&mut one, "10.1.1.1", &mut other)?;
            for left in ["ready", "conf.db", "db.sock"] {
                let _ = std::fs::remove_file(folder.path().join(left));
            }
        }
        Ok(())
    });
}

/// passt, on an interface whose address and gateway the guest gets, and a server on the host's side of it.
const PASST: &str = r#"
ROOT=$1 DIR=$2
export LD_LIBRARY_PATH=$1/usr/lib/x86_64-linux-gnu
PATH=$PATH:/usr/sbin:/sbin
ip link set lo up
ip tuntap add mode tap uplink
ip addr add 10.9.9.9/24 dev uplink
ip link set uplink up
ip route add default via 10.9.9.1
python3 -m http.server --bind 127.0.0.1 --directory $DIR/served 8000 &
$ROOT/usr/bin/passt -f -s $DIR/passt -i uplink --runas 0 -m 1500 &
until [ -S $DIR/passt ]; do sleep 0.1; done
touch $DIR/ready
wait
"#;

/// Bytes of a file on passt's side, and how many there are. That of Debian 12 loses its way in a download that is sent
/// faster than it is taken, some 64 KB in, and does with QEMU in our place; what fits into its window comes.
const FILE: usize = 48 << 10;
const FILES: usize = 40;

#[test]
#[ignore = "all: brings passt"]
fn downloads_come_over_passt() {
    case("e1000 on passt by a stream", || {
        let folder = place::temporary()?;
        let data = noise(FILES * FILE);
        std::fs::create_dir(folder.path().join("served"))?;
        for (number, part) in data.chunks(FILE).enumerate() {
            std::fs::write(folder.path().join(format!("served/{number}")), part)?;
        }
        let _passt = Apart::start(PASST, folder.path(), seconds(60))?;
        let net = format!("stream:{}", folder.path().join("passt").display());
        let mut guest = Machine::new()?.card("e1000", &net).kernel("net", APPEND)?.boot()?;
        guest.wait_for("ailurus:/root#", seconds(240))?;
        dhcp(&mut guest, "10.9.9.9")?;
        // What goes to the gateway comes out on the loopback of passt's side.
        let line = format!(
            "for n in $(seq 0 {}); do wget -q -O - http://10.9.9.1:8000/$n; done | sha256sum | grep {}",
            FILES - 1,
            sum(&data)
        );
        run(&mut guest, &line, seconds(300))?;
        guest.type_line("poweroff -f")?;
        guest.wait_power_off(seconds(60))
    });
}

/// A bridge with two ports for guests, and an address of its own.
const BRIDGE: &str = r"
DIR=$2
PATH=$PATH:/usr/sbin:/sbin
ip link set lo up
ip link add br0 type bridge 2>/dev/null || exit 77
for port in 0 1; do
    ip tuntap add dev port$port mode tap user 0
    ip link set port$port mtu 9000 master br0 up
done
ip link set br0 mtu 9000 up
ip addr add 10.1.1.9/24 dev br0
touch $DIR/ready
exec sleep 100000
";

fn on_bridge(bridge: &Apart, program: Program, card: &str, port: u32) -> Result<Guest> {
    let machine = Machine::on(program).within(bridge.id());
    machine.card(card, &format!("tap:port{port}")).kernel("net", APPEND)?.boot()
}

/// Long pings that are not to be cut.
fn jumbo(guest: &mut Guest, to: &str) -> Result<()> {
    // The card's link goes and comes with another length of frames.
    let line = format!("until ping -c 1 -W 1 -s 8000 {to}; do :; done; ping -c 50 -A -q -s 8000 {to}");
    let said = run(guest, &line, seconds(120))?;
    ensure!(said.contains("50 packets transmitted, 50 packets received"), "long pings were lost");
    Ok(())
}

#[test]
#[ignore = "all: two guests beside the one of the everyday tests"]
fn two_guests_talk_over_a_bridge() {
    case("two e1000 on a bridge of the host's kernel by tap", || {
        let folder = place::temporary()?;
        let bridge = Apart::start(BRIDGE, folder.path(), seconds(60))?;
        let ours = Program::chosen()?;
        let mut one = on_bridge(&bridge, ours.clone(), "e1000", 0)?;
        let mut other = on_bridge(&bridge, ours, "e1000,mac=52:54:00:12:34:57", 1)?;
        configured(&mut one, "10.1.1.1")?;
        configured(&mut other, "10.1.1.2")?;
        let said = run(&mut other, "ping -c 1000 -A -q 10.1.1.1", seconds(120))?;
        ensure!(said.contains("1000 packets transmitted, 1000 packets received"), "pings were lost");
        for guest in [&mut one, &mut other] {
            run(guest, "ip link set eth0 mtu 9000", seconds(60))?;
        }
        jumbo(&mut other, "10.1.1.1")?;
        jumbo(&mut one, "10.1.1.9")
    });
}

#[test]
#[ignore = "all: QEMU is not a part of what everyday tests bring"]
fn a_guest_of_ours_talks_to_one_of_qemus() {
    case("e1000 of ours and of QEMU's, by tap and by socket", || {
        let folder = place::temporary()?;
        let bridge = Apart::start(BRIDGE, folder.path(), seconds(60))?;
        let mut one = on_bridge(&bridge, Program::chosen()?, "e1000", 0)?;
        let mut other = on_bridge(&bridge, Program::qemu()?, "e1000,mac=52:54:00:12:34:57", 1)?;
        let talk = |one: &mut Guest, other: &mut Guest| {
            configured(one, "10.1.1.1")?;
            configured(other, "10.1.1.2")?;
            let said = run(one, "ping -c 200 -A -q 10.1.1.2", seconds(120))?;
            ensure!(said.contains("200 packets transmitted, 200 packets received"), "pings were lost");
            anyhow::Ok(())
        };
        talk(&mut one, &mut other)?;
        drop((one, other));
        let port = free_port()?;
        let guest = |program: Program, card: &str, net: String| {
            Machine::on(program).card(card, &net).kernel("net", APPEND)?.boot()
        };
        let mut other = guest(Program::qemu()?, "e1000", format!("socket,listen=127.0.0.1:{port}"))?;
        other.wait_for("ailurus:/root#", seconds(240))?;
        other.type_line("")?;
        let ours = format!("socket,connect=127.0.0.1:{port}");
        let mut one = guest(Program::chosen()?, "e1000,mac=52:54:00:12:34:57", ours)?;
        talk(&mut one, &mut other)
    });
}
