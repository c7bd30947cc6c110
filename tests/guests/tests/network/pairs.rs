//! A guest whose card has several pairs of queues, on an interface of the host's kernel with as many queues.

use guest_tests::{Program, perl, place};

use super::switches::Apart;
use super::*;

/// An interface with several queues, and a server of files on the host's side of it.
const TAP: &str = r"
DIR=$2
PATH=$PATH:/usr/sbin:/sbin
ip link set lo up
ip tuntap add dev port0 mode tap multi_queue user 0
ip addr add 10.1.1.9/24 dev port0
ip link set port0 up
python3 -m http.server --bind 10.1.1.9 --directory $DIR/served 8000 &
touch $DIR/ready
wait
";

/// `-L N`: so many queues of eth0 in use. `-X N...`: weights of its queues in the table of hashes, the driver's own
/// without any. Either says what is so then (Linux `include/uapi/linux/ethtool.h`).
const ETHTOOL: &str = r#"
my ($what, @numbers) = @ARGV;
socket(my $socket, 2, 2, 0) or die "socket: $!";
sub ask {
    my $data = shift;
    my $request = pack("a16 P x16", "eth0", $data);
    ioctl($socket, 0x8946, $request) or die "ioctl: $!";
    return $data;
}
ask(pack("L9", 0x3d, (0) x 7, $numbers[0])) if $what eq "-L";
my @channels = unpack("L9", ask(pack("L9", 0x3c, (0) x 8)));
my $table = sub { pack("L4 x8 L*", shift, 0, shift, 0, @_) };
my $none = ask(pack("L4 x12", 0x46, 0, 0, 0));
my $entries = (unpack("L4", $none))[2];
if ($what eq "-X") {
    my @queues = map { ($_) x $numbers[$_] } 0 .. $#numbers;
    my $many = @queues ? $entries : 0;
    ask(pack("L4 C4 L L*", 0x47, 0, $many, 0, 0, 0, 0, 0, 0, map { $queues[$_ % @queues] } 0 .. $many - 1));
}
my @table;
@table = unpack("x24 L$entries", ask(pack("L4 C4 L L*", 0x46, 0, $entries, 0, 0, 0, 0, 0, 0, (0) x $entries)))
    if $entries;
my %seen = map { $_ => 1 } @table;
print "combined $channels[8] of $channels[4], $entries entries: @{[sort keys %seen]}\n";
"#;

const PAIRS: usize = 4;
const FILE: usize = 2 << 20;

/// Has each processor of the guest's download the file at once.
fn downloads(guest: &mut Guest, data: &[u8]) -> Result<()> {
    let all: Vec<String> = (0..PAIRS).map(|cpu| cpu.to_string()).collect();
    let one = format!(
        "taskset -c $n wget -q -O - http://10.1.1.9:8000/0 | sha256sum | grep -q {} || echo it is damaged",
        sum(data)
    );
    let line = format!("for n in {}; do ({one}) & done; wait", all.join(" "));
    let said = run(guest, &line, seconds(300))?;
    ensure!(!said.contains("it is damaged\r"), "{said}");
    Ok(())
}

/// Interrupts of each pair's queue of frames that come.
fn interrupts(guest: &mut Guest) -> Result<Vec<u64>> {
    let script = "awk '/virtio[0-9]*-input/ { n = 0; for (i = 2; i <= 5; i++) n += $i; printf \"%s=%d;\", $NF, n }' \
                  /proc/interrupts; echo ' counted'";
    guest.type_line(script)?;
    let said = guest.wait_for("; counted", seconds(60))?;
    let counts = |number: usize| {
        let (_, rest) = said.rsplit_once(&format!("-input.{number}="))?;
        rest.split(';').next()?.parse().ok()
    };
    (0..PAIRS).map(|number| counts(number).with_context(|| format!("no queue {number}: {said}"))).collect()
}

fn ethtool(guest: &mut Guest, words: &str, answer: &str) -> Result<()> {
    let said = run(guest, &format!("perl /ethtool {words}"), seconds(120))?;
    ensure!(said.contains(answer), "{said}");
    Ok(())
}

fn spread_over_pairs(properties: &str) -> Result<()> {
    let folder = place::temporary()?;
    let data = noise(FILE);
    std::fs::create_dir(folder.path().join("served"))?;
    std::fs::write(folder.path().join("served/0"), &data)?;
    let host = Apart::start(TAP, folder.path(), seconds(60))?;
    let disk = perl::disk(folder.path(), &[("ethtool", ETHTOOL.as_bytes())])?;
    let card = format!("virtio-net-pci,mq=on{properties}");
    let net = format!("tap,ifname=port0,queues={PAIRS},script=no,downscript=no");
    let machine = Machine::on(Program::chosen()?).within(host.id()).vcpus(PAIRS as u32);
    let machine = machine.virtio_disk(&disk, "raw", "").card(&card, &net);
    let mut guest = machine.kernel("virtio", APPEND)?.boot()?;
    guest.wait_for("ailurus:/root#", seconds(240))?;
    run(&mut guest, "mkdir -p /usr; tar -xf /dev/vda -C /; export PATH=$PATH:/usr/bin", seconds(120))?;
    run(&mut guest, "ip addr add 10.1.1.1/24 dev eth0; ip link set eth0 up", seconds(60))?;
    run(&mut guest, "until ping -c 1 -W 1 10.1.1.9; do :; done", seconds(60))?;
    ethtool(&mut guest, "-l", &format!("combined {PAIRS} of {PAIRS}"))?;
    downloads(&mut guest, &data)?;
    let counts = interrupts(&mut guest)?;
    ensure!(counts.iter().all(|count| *count > 0), "not all queues were used: {counts:?}");
    if properties.contains("rss=on") {
        ethtool(&mut guest, "-X 0 0 1 0", "128 entries: 2")?;
        let before = interrupts(&mut guest)?;
        downloads(&mut guest, &data)?;
        let after = interrupts(&mut guest)?;
        let came: Vec<u64> = before.iter().zip(&after).map(|(before, after)| after - before).collect();
        ensure!(came[2] > 10 * (came[0] + came[1] + came[3]), "frames went elsewhere: {came:?}");
        // Linux takes no queue away that a table names which somebody has set.
        ethtool(&mut guest, "-X", "128 entries: 0 1 2 3")?;
    }
    // Fewer, while frames come, and again all.
    for pairs in [1, 2, PAIRS] {
        guest.type_line("wget -q -O /dev/null http://10.1.1.9:8000/0 &")?;
        ethtool(&mut guest, &format!("-L {pairs}"), &format!("combined {pairs} of {PAIRS}"))?;
        downloads(&mut guest, &data)?;
    }
    guest.type_line("poweroff -f")?;
    guest.wait_power_off(seconds(60))
}

#[test]
#[ignore = "all: four processors, and an interface of the host's kernel"]
fn flows_are_spread_over_pairs() {
    case("virtio-net: four pairs on a tap with four queues", || spread_over_pairs(""));
}

#[test]
#[ignore = "all: four processors, and an interface of the host's kernel"]
fn frames_go_where_their_hashes_say() {
    case("virtio-net: RSS and hashes on a tap with four queues", || spread_over_pairs(",rss=on,hash=on"));
}
