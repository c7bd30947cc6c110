//! Hubs.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use super::super::Hubs;
use super::{Around, Card, frame, prepare, spec};

fn port(hubs: &Hubs, text: &str) -> Card {
    let around = Around { fd: &|_| Err("none".into()), hubs };
    Card::of(prepare(&spec(text).unwrap(), &around).unwrap())
}

#[test]
fn three_on_a_hub_hear_each_other_and_not_themselves() {
    let hubs = Hubs::default();
    let mut cards: Vec<_> = (0..3).map(|_| port(&hubs, "hubport,hubid=1")).collect();
    let apart = port(&hubs, "hubport,hubid=2");
    assert_eq!(cards[0].backend.info(), "index=0,type=hubport,");
    let all_hear = |cards: &[Card], round: u32| {
        for (sender, card) in cards.iter().enumerate() {
            let sent: Vec<_> = (0..100).map(|n| frame(round * 1000 + sender as u32 * 100 + n, 90)).collect();
            sent.iter().for_each(|frame| card.send(frame));
            for (_, other) in cards.iter().enumerate().filter(|(n, _)| *n != sender) {
                sent.iter().for_each(|frame| assert!(other.next() == *frame));
            }
        }
    };
    (0..5).for_each(|round| all_hear(&cards, round));
    drop(cards.pop());
    all_hear(&cards, 6);
    cards.push(port(&hubs, "hubport,hubid=1"));
    all_hear(&cards, 7);
    assert!(!apart.backend.receive(&mut Vec::new()), "hubs are apart");
}

#[test]
fn a_port_that_takes_nothing_does_not_hold_up_the_others() {
    let hubs = Hubs::default();
    let cards: Vec<_> = (0..3).map(|_| port(&hubs, "hubport,hubid=1")).collect();
    for n in 0..3000 {
        cards[0].send(&frame(n, 1514));
        assert!(cards[1].next() == frame(n, 1514));
    }
    // It has what it has room for, from the beginning.
    assert!(cards[2].next() == frame(0, 1514));
}

#[test]
fn a_back_end_on_a_port_leads_out_of_the_hub() {
    let hubs = Hubs::default();
    let card = port(&hubs, "hubport,hubid=1");
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let around = Around { fd: &|_| Ok(ours.try_clone().unwrap().into()), hubs: &hubs };
    let open = |text: &str| prepare(&spec(text).unwrap(), &around).unwrap();
    let nobody: super::super::Observer = Arc::new(|_| {});
    let (stream, other) = (open("stream,addr.type=fd,addr.str=1"), open("stream,addr.type=fd,addr.str=1"));
    assert!(stream.attach(other, nobody.clone()).is_none(), "a stream is no port");
    let stream = open("stream,addr.type=fd,addr.str=1");
    let kept = open("hubport,hubid=1,netdev=s").attach(stream, nobody).unwrap().unwrap();
    let mut bytes = vec![0; 4 + 60];
    for n in 0..300 {
        card.send(&frame(n, 60));
        theirs.read_exact(&mut bytes).unwrap();
        assert!(bytes[4..] == frame(n, 60));
        theirs.write_all(&bytes).unwrap();
        assert!(card.next() == frame(n, 60));
    }
    drop(kept);
    drop(ours);
    assert!(matches!(theirs.read(&mut bytes), Ok(0)), "the stream is closed");
}
