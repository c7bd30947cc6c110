//! Guests that do what none may.

use super::*;

#[test]
fn what_nobody_knows_is_refused_and_what_is_not_ours_passed_over() {
    let mut bench = Bench::new(10);
    let listener = bench.listen(HOST);
    let _program = bench.connected(&listener, HOST, GUEST);
    let other = Header { kind: 9, ..of_guest(op::RW, HOST, GUEST) };
    bench.send(other, b"");
    assert_eq!(bench.heard().map(|(refusal, _)| (refusal.op, refusal.kind)), Some((op::RST, 9)));
    assert_eq!(bench.mux.count(), (1, 0), "the stream of these ports is another");
    for op in [op::RESPONSE, op::SHUTDOWN, op::RW, op::CREDIT_UPDATE, op::CREDIT_REQUEST, 0, 8, 0xffff] {
        bench.say(op, HOST, GUEST + 1);
        assert_eq!(bench.op(), Some(op::RST), "{op}");
    }
    bench.say(op::RST, HOST, GUEST + 1);
    bench.send(Header { src_cid: CID + 1, ..of_guest(op::REQUEST, HOST, GUEST + 1) }, b"");
    bench.send(Header { dst_cid: CID, ..of_guest(op::REQUEST, HOST, GUEST + 1) }, b"");
    assert_eq!(bench.heard(), None);
    // Of a connection: it ends.
    for op in [op::REQUEST, op::RESPONSE, 0, 8] {
        bench.say(op::RST, HOST, GUEST);
        let _program = bench.connected(&listener, HOST, GUEST);
        bench.say(op, HOST, GUEST);
        assert_eq!((bench.op(), bench.mux.count()), (Some(op::RST), (0, 0)), "{op}");
    }
}

#[test]
fn one_that_was_asked_answers_and_says_nothing_else() {
    let mut bench = Bench::new(10);
    for op in [op::RW, op::SHUTDOWN, op::CREDIT_UPDATE, op::REQUEST] {
        let mut client = bench.client("CONNECT 80\n");
        let port = bench.heard().unwrap().0.src_port;
        bench.say(op, port, 80);
        assert_eq!((bench.op(), read(&mut client)), (Some(op::RST), (vec![], true)), "{op}");
    }
}

#[test]
fn a_guest_that_listens_to_nothing_is_not_listened_to() {
    let mut bench = Bench::new(10);
    let packet = of_guest(op::RW, HOST, GUEST).bytes();
    let mut taken = 0;
    while bench.shared.send(&packet) {
        taken += 1;
        assert!(taken < 1000, "it keeps all refusals");
        bench.turn();
    }
    assert!(taken > 300);
    // All are refused in the end, and it goes on.
    let mut refused = 0;
    while bench.op() == Some(op::RST) {
        refused += 1;
    }
    assert_eq!(refused, taken);
    assert!(bench.shared.send(&packet));
}

#[test]
fn noise() {
    let mut random = devices_core::rig::Random::new(15);
    let mut bench = Bench::new(6);
    let listener = bench.listen(HOST);
    listener.set_nonblocking(true).unwrap();
    let mut programs = Vec::new();
    for _ in 0..20_000 {
        let op = random.below(10) as u16;
        let (host, guest) = (HOST + random.below(2) as u32, GUEST + random.below(8) as u32);
        let header = Header {
            kind: if random.below(30) == 0 { 2 } else { kind::STREAM },
            flags: random.below(5) as u32,
            buf_alloc: random.below(1 << 18) as u32,
            fwd_cnt: if random.below(4) == 0 { random.draw() as u32 } else { 0 },
            ..of_guest(
                op,
                if random.below(4) == 0 { (1 << 30) + random.below(64) as u32 } else { host },
                guest,
            )
        };
        let payload = vec![0; random.below(2) as usize * random.below(40_000) as usize];
        let whole = Header { len: payload.len() as u32, ..header }.bytes();
        bench.shared.send(&[&whole[..], &payload].concat());
        match random.below(8) {
            0 => programs.extend(listener.accept().ok().map(|(program, _)| program)),
            1 => programs.truncate(random.below(5) as usize),
            2 => programs.push(bench.client(["CONNECT 80\n", "CON", "\n"][random.below(3) as usize])),
            3 => bench.pass(Duration::from_millis(random.below(500))),
            4 => {
                for program in &mut programs {
                    program.set_nonblocking(true).unwrap();
                    let _ = program.write(&[7; 5000]);
                    let _ = program.read(&mut [0; 30_000]);
                }
            }
            _ => {}
        }
        if random.below(500) == 0 {
            bench.shared.reset();
        }
        for _ in 0..random.below(4) {
            bench.heard();
        }
        let (connections, clients) = bench.mux.count();
        assert!(connections + clients <= 6);
    }
    // All ends.
    bench.shared.reset();
    drop((programs, listener));
    bench.pass(Duration::from_secs(20));
    assert_eq!(bench.mux.count(), (0, 0));
}
