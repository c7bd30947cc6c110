use super::layout::*;
use super::wire::*;
use crate::machine::{Op, Size};

const OPS: [Op; 8] = [
    Op::In(0x71, Size::B1),
    Op::Out(0xcf8, Size::B4, 0x8000_0000),
    Op::Read(0xb8000, Size::B2),
    Op::Read(0xfee0_0000, Size::B8),
    Op::Write(0x10_0000, Size::B8, 7),
    Op::InString(0x1f0, Size::B2, 256, 0x10_0000),
    Op::Wait(1000),
    Op::Now,
];

#[test]
fn the_image_begins_at_the_reset_vector_and_fits() {
    let image = super::image().unwrap();
    assert_eq!(image.len(), IMAGE);
    assert_eq!(image[RESET_VECTOR], 0xe9);
    let back = i16::from_le_bytes([image[RESET_VECTOR + 1], image[RESET_VECTOR + 2]]);
    assert_eq!(RESET_VECTOR as i32 + 3 + i32::from(back), STARTUP as i32);
    assert_eq!(image[STARTUP], 0xfa, "cli");
    // The parts are apart, and all are below what is a case's.
    let parts = [CODE, STUBS, IDT, GDT, GDT_POINTER, IDT_POINTER, STEPS, COMMANDS, LOADED_END, VARIABLES];
    assert!(parts.is_sorted());
    const { assert!(VARIABLES + 0x100 <= REQUEST && REQUEST + REQUEST_MAX as u32 <= ANSWER) };
    const { assert!(ANSWER + ANSWER_MAX as u32 + 0x1000 < STACK && (STACK as u64) < END) };
}

#[test]
fn every_gate_leads_to_a_stub_and_every_number_to_code() {
    let image = super::image().unwrap();
    let word = |at: u32| {
        let at = (at - CODE) as usize;
        u32::from_le_bytes(image[at..at + 4].try_into().unwrap())
    };
    let trap = |vector: u32| {
        let stub = STUBS + vector * 8;
        assert_eq!(image[(stub - CODE) as usize], 0xe8);
        (stub + 5).wrapping_add(word(stub + 1))
    };
    for vector in 0..256 {
        let gate = IDT + vector * 8;
        assert_eq!(word(gate) & 0xffff | word(gate + 4) & 0xffff_0000, STUBS + vector * 8);
        assert_eq!(trap(vector), trap(0));
    }
    let code = CODE..STUBS;
    assert!(code.contains(&trap(0)));
    assert!((0..23).all(|step| code.contains(&word(STEPS + step * 4))));
    assert!((0..5).all(|command| code.contains(&word(COMMANDS + command * 4))));
}

#[test]
fn steps_and_their_numbers() {
    let body = steps(&OPS, |ns| ns * 2).unwrap();
    let lens = [3, 7, 5, 5, 13, 11, 9, 1, 1];
    assert_eq!(body.len(), lens.iter().sum::<usize>());
    assert_eq!(body[..10], [1, 0x71, 0, 6, 0xf8, 0x0c, 0, 0, 0, 0x80]);
    assert_eq!(body[44..46], [21, 0xd0]);
    let answer: Vec<u8> = (1..=24).collect();
    let numbers = numbers(&OPS, &answer, |ticks| ticks / 2).unwrap();
    let now = u64::from_le_bytes([17, 18, 19, 20, 21, 22, 23, 24]) / 2;
    assert_eq!(numbers, [0x0403_0201, 0, 0x0807_0605, 0x100f_0e0d_0c0b_0a09, 0, 0, 0, now]);
}

#[test]
fn what_no_instruction_does_is_refused() {
    let ticks = |ns| ns;
    for op in [Op::In(1, Size::B8), Op::Read(1 << 32, Size::B1), Op::OutString(1, Size::B8, 1, 0)] {
        assert_eq!(steps(&[op], ticks), Err(WireError::NoWay(op)));
    }
    assert!(matches!(steps(&vec![Op::Now; 8000], ticks), Err(WireError::TooLong(_))));
    assert!(matches!(command(Command::Poke, &vec![0; REQUEST_MAX + 1]), Err(WireError::TooLong(_))));
}

fn read(bytes: &[u8]) -> Result<Option<Answer>, WireError> {
    let mut reader = Reader::default();
    reader.push(bytes);
    reader.next_answer()
}

#[test]
fn answers_come_back_whole_in_any_pieces() {
    let exception = Answer::Exception { vector: 14, stack: [2, 3], cr2: 4, at: 5 };
    let all = [Answer::Hello { version: 9 }, Answer::Done(vec![1, 2]), Answer::Bad, exception];
    let mut reader = Reader::default();
    let mut got = Vec::new();
    for byte in all.iter().flat_map(answer) {
        reader.push(&[byte]);
        got.extend(reader.next_answer().unwrap());
    }
    assert_eq!(got, all);
}

#[test]
fn a_reset_in_an_answer_is_a_hello() {
    let mut bytes = answer(&Answer::Done(vec![7; 100]));
    bytes.truncate(50);
    bytes.extend(answer(&Answer::Hello { version: 1 }));
    assert_eq!(read(&bytes), Ok(Some(Answer::Hello { version: 1 })));
}

#[test]
fn hostile_answers_are_errors() {
    let good = answer(&Answer::Done(vec![1, 2, 3]));
    for at in 0..good.len() {
        assert_eq!(read(&good[..at]), Ok(None), "cut off at {at}");
        let mut bad = good.clone();
        bad[at] ^= 0x40;
        assert!(!matches!(read(&bad), Ok(Some(_))), "byte {at}");
    }
    assert!(read(&[0; 4]).is_err());
    assert!(read(&[0x5a, 0, 0xff, 0xff]).is_err(), "a length that no answer has");
    // Answers of the wrong length.
    assert!(numbers(&OPS, &[0; 23], |ticks| ticks).is_err());
    assert!(numbers(&OPS, &[], |ticks| ticks).is_err());
    assert!(numbers(&[], &[1], |ticks| ticks).is_err());
}
