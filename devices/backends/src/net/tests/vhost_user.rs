use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use super::switch::{FEATURES, Switch};
use super::*;

/// A card whose switch connects to it.
fn server(dir: &tempfile::TempDir) -> (Card, PathBuf) {
    let path = dir.path().join("switch");
    let card = Card::new(&format!("vhost-user,chardev=c,server=on,path={}", path.display()));
    assert_eq!(card.event(), NetEvent::Disconnected, "the link is down until a switch comes");
    (card, path)
}

fn connected(path: &PathBuf) -> UnixStream {
    UnixStream::connect(path).unwrap()
}

#[test]
fn frames_of_all_sizes_go_both_ways() {
    let dir = tempfile::tempdir().unwrap();
    let (card, path) = server(&dir);
    let mut switch = Switch::ready(connected(&path), FEATURES);
    assert!(matches!(card.event(), NetEvent::Connected(_)));
    assert_eq!(card.backend.info(), "index=0,type=vhost-user,vhost-user0 to c");
    assert_eq!(switch.taken, 1 << 32 | 1 << 15 | 1 << 30, "what is not needed is not taken");
    let lengths = [60, 1514, 1, 2036, 2037, 9000, 65_553, 590];
    let all = || (0..600u32).map(|n| frame(n, lengths[n as usize % lengths.len()]));
    std::thread::scope(|scope| {
        let switch = &mut switch;
        scope.spawn(move || {
            for expected in all() {
                assert!(switch.frame() == expected, "frames come whole and in order");
            }
        });
        // More than the rings hold, and than the queues do.
        all().for_each(|frame| card.send(&frame));
    });
    std::thread::scope(|scope| {
        let switch = &mut switch;
        scope.spawn(move || all().for_each(|frame| switch.give(&frame, 0)));
        for expected in all() {
            assert!(card.next() == expected, "frames come whole and in order");
        }
    });
}

#[test]
fn a_switch_that_merges_no_buffers_and_answers_nothing_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let (card, path) = server(&dir);
    let mut switch = Switch::ready(connected(&path), 1 << 32);
    assert_eq!(switch.taken, 1 << 32);
    assert!(!switch.told.contains(&16) && !switch.told.contains(&18));
    switch.give(&frame(1, 1514), 0);
    assert_eq!(card.next(), frame(1, 1514));
    card.send(&frame(2, 60));
    assert_eq!(switch.frame(), frame(2, 60));
}

#[test]
fn a_switch_goes_and_another_comes() {
    let dir = tempfile::tempdir().unwrap();
    let (card, path) = server(&dir);
    for round in 0..3 {
        let mut switch = Switch::ready(connected(&path), FEATURES);
        assert!(matches!(card.event(), NetEvent::Connected(_)));
        switch.give(&frame(round, 700), 0);
        assert_eq!(card.next(), frame(round, 700));
        card.send(&frame(round, 900));
        assert_eq!(switch.frame(), frame(round, 900));
        // It holds all of these when it dies.
        (0..100).for_each(|n| assert!(card.backend.send(&frame(n, 1500))));
        drop(switch);
        assert_eq!(card.event(), NetEvent::Disconnected);
        (0..10_000)
            .for_each(|n| assert!(card.backend.send(&frame(n, 60)), "a cable that leads nowhere takes all"));
    }
}

#[test]
fn a_switch_that_listens_is_connected_to_and_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("switch");
    let card = Card::new(&format!("vhost-user,chardev=c,reconnect=1,path={}", path.display()));
    assert_eq!(card.event(), NetEvent::Disconnected);
    for round in 0..2 {
        let listener = UnixListener::bind(&path).unwrap();
        let mut switch = Switch::ready(listener.accept().unwrap().0, FEATURES);
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(card.event(), NetEvent::Connected(_)));
        switch.give(&frame(round, 64), 0);
        assert_eq!(card.next(), frame(round, 64));
        drop((switch, listener));
        assert_eq!(card.event(), NetEvent::Disconnected);
    }
    let spec = spec(&format!("vhost-user,chardev=c,path={}", path.display())).unwrap();
    assert!(prepare(&spec, &nothing_around()).is_err(), "nobody is there, and it is tried once");
}

#[test]
fn what_is_left_to_be_done_is_done_and_what_is_no_frame_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let (card, path) = server(&dir);
    let mut switch = Switch::ready(connected(&path), FEATURES);
    // A checksum of all of the frame that is to be put at its begin: that of zeros.
    switch.give(&[0; 60], 1);
    let mut expected = vec![0; 60];
    expected[..2].fill(0xff);
    assert_eq!(card.next(), expected);
    // More than a frame may have, and nothing at all.
    switch.give(&vec![7; 70_000], 0);
    switch.give(&[], 0);
    switch.give(&frame(1, 60), 0);
    assert_eq!(card.next(), frame(1, 60));
}

/// What a hostile switch does once it is set up.
type Lie = fn(&mut Switch);

#[test]
fn a_switch_that_lies_is_closed_and_the_next_is_served() {
    let lies: [Lie; 11] = [
        |switch| switch.show(0, 257),
        |switch| switch.show(0, 0x8000),
        |switch| switch.show(1, 3),
        |switch| used(switch, 0, 256, 60),
        |switch| used(switch, 0, u32::MAX, 60),
        |switch| used(switch, 0, 0, 11),
        |switch| used(switch, 0, 0, 2049),
        |switch| used(switch, 0, 0, u32::MAX),
        // The same buffer twice: it was given back once in between, and a third time it is not there.
        |switch| {
            let (head, _) = switch.next_chain(1);
            switch.used(1, head.into(), 0);
            switch.used(1, head.into(), 0);
            switch.show(1, 0);
        },
        |switch| {
            // A frame in no buffers.
            let (head, pieces) = switch.next_chain(0);
            switch.poke(pieces[0].0 + 10, 0);
            switch.used(0, head.into(), 60);
            switch.show(0, 0);
        },
        |switch| switch.say(b"?"),
    ];
    fn used(switch: &mut Switch, ring: u32, head: u32, len: u32) {
        switch.used(ring, head, len);
        switch.show(ring, 0);
    }
    let dir = tempfile::tempdir().unwrap();
    let (card, path) = server(&dir);
    for (number, lie) in lies.iter().enumerate() {
        let mut switch = Switch::ready(connected(&path), FEATURES);
        card.send(&frame(1, 60));
        card.send(&frame(1, 60));
        lie(&mut switch);
        assert!(switch.is_closed(), "lie {number}");
    }
    let mut switch = Switch::ready(connected(&path), FEATURES);
    switch.give(&frame(5, 60), 0);
    assert_eq!(card.next(), frame(5, 60));
}

#[test]
fn a_switch_that_stops_using_buffers_holds_up_the_guest_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (card, path) = server(&dir);
    let mut switch = Switch::ready(connected(&path), FEATURES);
    let mut sent = 0;
    let refused = || !card.backend.send(&frame(0, 1514));
    // What the ring and the queue hold, and then no more.
    while sent < 10_000
        && !(refused() && {
            std::thread::sleep(Duration::from_millis(50));
            refused()
        })
    {
        sent += 1;
    }
    assert!((256..1024).contains(&sent), "{sent}");
    // Frames the other way do not wait for them.
    switch.give(&frame(1, 60), 0);
    assert_eq!(card.next(), frame(1, 60));
    // A frame of which parts are missing is waited for.
    let (head, pieces) = switch.next_chain(0);
    switch.poke(pieces[0].0 + 10, 9);
    switch.used(0, head.into(), 2048);
    switch.show(0, 0);
    assert!(!card.backend.receive(&mut Vec::new()));
    drop(card);
    assert!(switch.is_closed());
}

#[test]
fn half_messages_and_wrong_answers_are_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let (card, path) = server(&dir);
    let number = |words: [u32; 3]| words.map(u32::to_ne_bytes).concat();
    let wrong = [
        // Another request's, no answer, another version, and lengths that it does not have.
        number([2, 5, 8]),
        number([1, 1, 8]),
        number([1, 6, 8]),
        number([1, 5, 0]),
        number([1, 5, u32::MAX]),
    ];
    for head in wrong {
        let mut switch = Switch::new(connected(&path), FEATURES);
        assert_eq!(switch.hear().unwrap().request, 1);
        switch.say(&[head.as_slice(), &FEATURES.to_ne_bytes()].concat());
        assert!(switch.is_closed());
    }
    // One that knows only the virtio of old.
    let mut switch = Switch::new(connected(&path), 0);
    let message = switch.hear().unwrap();
    switch.obey(message);
    assert!(switch.is_closed());
    // One that refuses.
    let mut switch = Switch::new(connected(&path), FEATURES);
    loop {
        let message = switch.hear().unwrap();
        if message.request == 5 {
            break switch.answer(5, 1);
        }
        switch.obey(message);
    }
    assert!(switch.is_closed());
    // It dies in the middle of each message, and of one of its own.
    for after in 0..18 {
        let mut switch = Switch::new(connected(&path), FEATURES);
        for _ in 0..after {
            let message = switch.hear().unwrap();
            switch.obey(message);
        }
        let _ = switch.hear();
        switch.say(&[1, 0, 0]);
    }
    // Half an answer, and nothing more: whoever ends the back end does not wait for it.
    let mut switch = Switch::new(connected(&path), FEATURES);
    switch.hear().unwrap();
    switch.say(&[1, 0, 0, 0, 5]);
    let begin = Instant::now();
    drop(card);
    assert!(switch.is_closed());
    assert!(begin.elapsed() < Duration::from_secs(5), "the patience with it is not used up");
}

#[test]
fn options_are_checked() {
    assert_eq!(spec("vhost-user,path=/x"), spec("vhost-user,path=/x,chardev=/x"));
    let refused = |text: &str| spec(text).unwrap_err();
    assert_eq!(refused("vhost-user"), "Parameter 'chardev' is missing");
    assert_eq!(refused("vhost-user,chardev=c"), "chardev 'c' is no unix socket that the command line has");
    assert!(refused("vhost-user,chardev=c,path=/x,queues=2").contains("one pair of queues"));
    assert!(refused("vhost-user,chardev=c,path=/x,server=on,reconnect=1").contains("incompatible"));
    assert_eq!(refused("vhost-user,chardev=c,path=/x,colour=1"), "Invalid parameter 'colour'");
    assert!(spec("vhost-user,chardev=c,path=/x,queues=1,vhostforce=on,server=on").is_ok());
}
