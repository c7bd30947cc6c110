//! Virtio network card that spreads frames by their hashes, with no cable: it has one pair of queues. Virtual I/O Device,
//! version 1.3 (V).

use super::*;

pub(in crate::cases) const GROUP: Group = Group {
    device: "virtio-net-rss",
    about: "Virtio network card that spreads frames by their hashes",
    setup: Setup {
        disks: &[],
        args: &["-device", "virtio-net-pci,addr=3,mq=on,rss=on,hash=on,host_mtu=1400,rombar=0"],
    },
    cases: &[
        case("features of hashes", "V 5.1.3", offered),
        case("limits of hashes", "V 5.1.4", limits),
        case("speed that is not known", "V 5.1.4", speed),
        case("the registers of a legacy driver are longer", "V 4.1.4.10", registers),
        case("frames are spread", "V 5.1.6.5.7.1", good),
        case("lengths of tables", "V 5.1.6.5.7.1", tables),
        case("a frame without a hash has a pair", "V 5.1.6.5.7.1", unclassified),
        case("a table that names other pairs", "V 5.1.6.5.7.1", entries),
        case("a number of pairs with the table", "V 5.1.6.5.7.1", pairs),
        case("lengths of keys", "V 5.1.6.5.7.1", keys),
        case("kinds of hashes", "V 5.1.6.5.7.1", kinds),
        case("a table that is cut short", "V 5.1.6.5.7.1", short),
        case("the number of pairs alone", "V 5.1.6.5.6", alone),
        case("hashes that were not agreed on", "V 5.1.6.5.7", not_agreed),
        case("a report that was not agreed on", "V 5.1.6.5.7.3", no_report),
        case("spreading without several pairs", "V 5.1.6.5.7", without_mq),
    ],
};

const MQ: u64 = 1 << 22;
const HASH_REPORT: u64 = 1 << 57;
const RSS: u64 = 1 << 60;

/// Class of the commands, and they.
const CLASS: u8 = 4;
const PAIRS: u8 = 0;
const SPREAD: u8 = 1;
const REPORT: u8 = 2;

/// What a command says.
struct Said {
    kinds: u32,
    table: Vec<u16>,
    unclassified: u16,
    pairs: u16,
    key: Vec<u8>,
}

impl Default for Said {
    fn default() -> Said {
        Said { kinds: 0x1ff, table: vec![0], unclassified: 0, pairs: 1, key: vec![0x6d; 40] }
    }
}

impl Said {
    fn bytes(&self) -> Vec<u8> {
        let words = |words: &[u16]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        let mask = (self.table.len() as u16).wrapping_sub(1);
        let head = [&self.kinds.to_le_bytes()[..], &words(&[mask, self.unclassified])].concat();
        [head, words(&self.table), words(&[self.pairs]), vec![self.key.len() as u8], self.key.clone()]
            .concat()
    }
}

/// Has each of these carried out, which say something in words.
fn all(bench: &mut Bench<'_>, cases: &[(String, Said, u8)]) {
    started(bench, MQ | RSS | CTRL_VQ);
    for (number, (what, said, wanted)) in cases.iter().enumerate() {
        let answer = command(bench, number as u16, CLASS, SPREAD, &said.bytes());
        bench.check(what.clone(), answer, *wanted);
    }
}

fn offered(bench: &mut Bench<'_>) {
    on(bench);
    let offered = features(bench, 0);
    bench.check_bits("RSS, several pairs, commands", offered, RSS | MQ | CTRL_VQ, RSS | MQ | CTRL_VQ);
    bench.check_bits("no cable has a header for a hash", offered, HASH_REPORT, 0u8);
}

fn limits(bench: &mut Bench<'_>) {
    on(bench);
    let key = bench.read(DEVICE + 17, Size::B1);
    bench.check("bytes of a key", key, 40u8);
    let table = bench.read(DEVICE + 18, Size::B2);
    bench.check("entries of a table", table, 128u8);
    let kinds = bench.readl(DEVICE + 20);
    bench.check("kinds of hashes", kinds, 0x1ffu32);
    let beyond = bench.read(DEVICE + 24, Size::B1);
    bench.check("behind the last field", beyond, 0xffu8);
}

fn speed(bench: &mut Bench<'_>) {
    on(bench);
    let speed = bench.readl(DEVICE + 12);
    bench.check("speed", speed, u32::MAX);
    let duplex = bench.read(DEVICE + 16, Size::B1);
    bench.check("duplex", duplex, 0xffu8);
}

fn registers(bench: &mut Bench<'_>) {
    bench.set_config(SLOT, 0, 0x10, Size::B4, u32::MAX);
    let mask = bench.config(SLOT, 0, 0x10, Size::B4);
    bench.check("64 ports", mask, 0xffff_ffc1u32);
}

fn good(bench: &mut Bench<'_>) {
    all(bench, &[("once".into(), Said::default(), 0), ("again".into(), Said::default(), 0)]);
    frame(bench);
    serve(bench, TX, 0, &[(DATA, 72, false)]);
}

fn tables(bench: &mut Bench<'_>) {
    let lengths = [(1, 0), (2, 0), (3, 1), (4, 0), (96, 1), (128, 0), (129, 1), (256, 1)];
    let cases = lengths.map(|(len, wanted)| {
        (format!("{len} entries"), Said { table: vec![0; len], ..Said::default() }, wanted)
    });
    all(bench, &cases);
    let most = [&0x1ffu32.to_le_bytes()[..], &[0xff, 0xff, 0, 0], &[0; 300]].concat();
    let answer = command(bench, cases.len() as u16, CLASS, SPREAD, &most);
    bench.check("65536 entries", answer, 1u8);
}

fn unclassified(bench: &mut Bench<'_>) {
    let cases = [(0, 0), (1, 1), (0x7fff, 1), (0xffff, 1)].map(|(pair, wanted)| {
        (format!("pair {pair}"), Said { unclassified: pair, ..Said::default() }, wanted)
    });
    all(bench, &cases);
}

fn entries(bench: &mut Bench<'_>) {
    started(bench, MQ | RSS | CTRL_VQ);
    let said = Said { table: vec![0, 1, 7, 0xffff], ..Said::default() };
    let answer = command(bench, 0, CLASS, SPREAD, &said.bytes());
    bench.note("it is the driver's fault (V 5.1.6.5.7.2)", answer);
    frame(bench);
    serve(bench, TX, 0, &[(DATA, 72, false)]);
}

fn pairs(bench: &mut Bench<'_>) {
    let cases = [(1, 0), (0, 1), (2, 1), (0x8001, 1), (0xffff, 1)]
        .map(|(pairs, wanted)| (format!("{pairs} pairs"), Said { pairs, ..Said::default() }, wanted));
    all(bench, &cases);
}

fn keys(bench: &mut Bench<'_>) {
    let cases = [(40, 0), (1, 0), (39, 0), (41, 1), (255, 1), (0, 1)]
        .map(|(len, wanted)| (format!("{len} bytes"), Said { key: vec![7; len], ..Said::default() }, wanted));
    all(bench, &cases);
}

fn kinds(bench: &mut Bench<'_>) {
    let cases = (0..9).map(|bit| (format!("kind {bit}"), Said { kinds: 1 << bit, ..Said::default() }, 0));
    let none = Said { kinds: 0, key: Vec::new(), ..Said::default() };
    all(bench, &cases.chain([("no kinds and no key".into(), none, 0)]).collect::<Vec<_>>());
}

fn short(bench: &mut Bench<'_>) {
    started(bench, MQ | RSS | CTRL_VQ);
    let whole = Said { table: vec![0; 4], ..Said::default() }.bytes();
    for (number, len) in [0, 3, 4, 7, 8, 15, 16, 17, 18, 19, whole.len() - 1].into_iter().enumerate() {
        let answer = command(bench, number as u16, CLASS, SPREAD, &whole[..len]);
        bench.check(format!("{len} bytes"), answer, 1u8);
    }
}

fn alone(bench: &mut Bench<'_>) {
    all(bench, &[("a table".into(), Said::default(), 0)]);
    for (number, pairs) in [(1, 1u16), (2, 2)] {
        let answer = command(bench, number, CLASS, PAIRS, &pairs.to_le_bytes());
        bench.check(format!("{pairs} pairs"), answer, (pairs - 1) as u8);
    }
}

fn not_agreed(bench: &mut Bench<'_>) {
    started(bench, MQ | CTRL_VQ);
    let answer = command(bench, 0, CLASS, SPREAD, &Said::default().bytes());
    bench.check("a table", answer, 1u8);
    let answer = command(bench, 1, CLASS, PAIRS, &[1, 0]);
    bench.check("one pair", answer, 0u8);
}

fn no_report(bench: &mut Bench<'_>) {
    started(bench, MQ | RSS | CTRL_VQ);
    let said = [&0x1ffu32.to_le_bytes()[..], &[0; 8], &[40], &[7; 40]].concat();
    let answer = command(bench, 0, CLASS, REPORT, &said);
    bench.check("kinds and a key", answer, 1u8);
}

fn without_mq(bench: &mut Bench<'_>) {
    started(bench, RSS | CTRL_VQ);
    let answer = command(bench, 0, CLASS, SPREAD, &Said::default().bytes());
    bench.check("a table", answer, 0u8);
    let answer = command(bench, 1, CLASS, PAIRS, &[1, 0]);
    bench.check("the number of pairs alone", answer, 1u8);
}
