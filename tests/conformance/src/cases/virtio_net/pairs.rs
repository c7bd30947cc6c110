//! Virtio network card that knows of several pairs of queues, with no cable: it has one. Virtual I/O Device, version 1.3 (V).

use super::*;

pub(in crate::cases) const GROUP: Group = Group {
    device: "virtio-net-mq",
    about: "Virtio network card that can have several pairs of queues",
    setup: Setup { disks: &[], args: &["-device", "virtio-net-pci,addr=3,mq=on,host_mtu=1400,rombar=0"] },
    cases: &[
        case("features of several pairs", "V 5.1.3", offered),
        case("queues, and messages for them", "V 5.1.2", queues),
        case("the number of pairs", "V 5.1.4", config),
        case("one pair", "V 5.1.6.5.6", one),
        case("numbers of pairs that cannot be", "V 5.1.6.5.6", wrong),
        case("a number that is cut short", "V 5.1.6.5.6", short),
        case("a command of that class that is not known", "V 5.1.6.5.6", unknown),
        case("pairs that were not agreed on", "V 5.1.6.5.6", not_agreed),
        case("a legacy driver and one pair", "V 5.1.6.5.6, Legacy Interface", legacy_one),
        case("frames go out when pairs were set", "V 5.1.6.2, 5.1.6.5.6", frames),
    ],
};

const MQ: u64 = 1 << 22;

/// Class of the commands.
const CLASS: u8 = 4;

fn offered(bench: &mut Bench<'_>) {
    on(bench);
    let offered = features(bench, 0);
    bench.check_bits("MQ, commands", offered, MQ | CTRL_VQ, MQ | CTRL_VQ);
}

fn queues(bench: &mut Bench<'_>) {
    on(bench);
    let count = get(bench, 0x12, Size::B2);
    bench.check("queues: in, out, commands", count, 3u8);
    let control = bench.config(SLOT, 0, 0x9a, Size::B2);
    bench.check("messages: of three queues and the configuration", control & 0x7ff, 3u8);
    negotiate(bench, VERSION_1 | MQ | CTRL_VQ);
    for (queue, wanted) in [(0, 256u16), (1, 256), (2, 64), (3, 0)] {
        set(bench, 0x16, Size::B2, queue);
        let size = get(bench, 0x18, Size::B2);
        bench.check(format!("elements of queue {queue}"), size, wanted);
    }
}

fn config(bench: &mut Bench<'_>) {
    on(bench);
    let pairs = bench.read(DEVICE + 8, Size::B2);
    bench.check("pairs of queues", pairs, 1u8);
    bench.write(DEVICE + 8, Size::B2, 7);
    let pairs = bench.read(DEVICE + 8, Size::B2);
    bench.check("it cannot be written", pairs, 1u8);
}

fn one(bench: &mut Bench<'_>) {
    started(bench, MQ | CTRL_VQ);
    for number in 0..2 {
        let answer = command(bench, number, CLASS, 0, &[1, 0]);
        bench.check("it is taken", answer, 0u8);
    }
}

fn wrong(bench: &mut Bench<'_>) {
    started(bench, MQ | CTRL_VQ);
    for (number, pairs) in [0, 2, 0x100, 0x8000, 0x8001, 0xffff].into_iter().enumerate() {
        let answer = command(bench, number as u16, CLASS, 0, &u16::to_le_bytes(pairs));
        bench.check(format!("{pairs:#x} pairs"), answer, 1u8);
    }
}

fn short(bench: &mut Bench<'_>) {
    started(bench, MQ | CTRL_VQ);
    for (number, data) in [&[][..], &[1]].into_iter().enumerate() {
        let answer = command(bench, number as u16, CLASS, 0, data);
        bench.check(format!("{} bytes", data.len()), answer, 1u8);
    }
    let answer = command(bench, 2, CLASS, 0, &[1, 0, 0]);
    bench.note("a byte more", answer);
}

fn unknown(bench: &mut Bench<'_>) {
    started(bench, MQ | CTRL_VQ);
    for (number, what) in [3, 4, 0x80, 0xff].into_iter().enumerate() {
        let answer = command(bench, number as u16, CLASS, what, &[1, 0]);
        bench.check(format!("command {what:#x}"), answer, 1u8);
    }
}

fn not_agreed(bench: &mut Bench<'_>) {
    started(bench, CTRL_VQ);
    let answer = command(bench, 0, CLASS, 0, &[1, 0]);
    bench.check("one pair", answer, 1u8);
}

fn legacy_one(bench: &mut Bench<'_>) {
    legacy_start(bench);
    bench.outl(IO + 4, (MQ | CTRL_VQ) as u32);
    bench.outw(IO + 14, CONTROL);
    let size = bench.inw(IO + 12);
    bench.check("elements of the queue of commands", size, 64u8);
    bench.poke(RING, &[0; 0x4000]);
    bench.outl(IO + 8, (RING / 4096) as u32);
    bench.outb(IO + 18, 7);
    bench.poke(HEAD, &[CLASS, 0, 1, 0]);
    bench.poke(STATUS, &[0xee]);
    chain(bench, RING, &[(HEAD, 4, false), (STATUS, 1, true)]);
    let (avail, device) = (RING + 1024, RING + 4096);
    bench.poke(avail, &[0, 0, 1, 0, 0, 0]);
    bench.outw(IO + 16, CONTROL);
    let index = wait_first(bench, device)[2];
    bench.check("it is given back", index, 1u8);
    let answer = bench.peek(STATUS, 1)[0];
    bench.check("it is taken", answer, 0u8);
}

fn frames(bench: &mut Bench<'_>) {
    started(bench, MQ | CTRL_VQ);
    for number in 0..3 {
        let answer = command(bench, number, CLASS, 0, &[1, 0]);
        bench.check("it is taken", answer, 0u8);
        frame(bench);
        let written = serve(bench, TX, number, &[(DATA, 72, false)]);
        bench.check("nothing was written", written, 0u8);
    }
}
