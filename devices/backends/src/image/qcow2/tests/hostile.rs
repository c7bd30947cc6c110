//! Files that somebody made to hurt.

use super::*;

/// Runs what a guest may do, whatever comes of it. Never a panic, never without end.
fn use_it(file: &Arc<Recorder>, random: &mut Random) {
    let before = file.transfers();
    let Ok(image) = opened(file, TINY) else {
        assert!(file.transfers() - before < 20_000, "opening reads no more than there is");
        return;
    };
    let size = image.size().min(1 << 20);
    for _ in 0..12 {
        let at = random.below(size / 512) * 512;
        let len = (random.below(16) * 512 + 512).min(size - at);
        let before = file.transfers();
        let mut bytes = vec![0; len as usize];
        match random.below(5) {
            0 => drop(image.read(&mut Target::Bytes(&mut bytes), at)),
            1 => drop(image.discard(at, len)),
            2 => drop(image.flush()),
            _ => drop(write(&image, at, &bytes)),
        }
        assert!(file.transfers() - before < 5000, "{} transfers", file.transfers() - before);
    }
}

#[test]
fn whatever_bytes_the_metadata_has_it_ends() {
    for (seed, layout) in [(1, layout(9, 4)), (2, layout(12, 4)), (3, layout(9, 0)), (4, layout(16, 4))] {
        let file = made(1 << 20, layout);
        {
            let image = opened(&file, TINY).unwrap();
            write(&image, 0, &[7; 0x2_0000]).unwrap();
            write(&image, 0x8_0000, &[7; 0x1000]).unwrap();
        }
        let sound = file.bytes();
        let mut random = Random::new(seed);
        for _ in 0..300 {
            let mut bytes = sound.clone();
            for _ in 0..1 + random.below(4) {
                // A byte of the header, or of whatever lies in the first clusters: tables and blocks.
                let at = match random.below(3) {
                    0 => random.below(112),
                    1 => random.below(8) << layout.cluster_bits | random.below(64),
                    _ => random.below((16 << layout.cluster_bits).min(sound.len() as u64)),
                };
                if let Some(byte) = bytes.get_mut(at as usize) {
                    *byte = random.next() as u8;
                }
            }
            use_it(&Recorder::of(bytes), &mut random);
        }
    }
}

#[test]
fn a_refcount_table_that_repeats_one_full_block_is_refused() {
    let file = made(1 << 20, Layout::default());
    let mut bytes = file.bytes();
    let block = bytes[0x1_0000..0x1_0008].to_vec();
    bytes[0x2_0000..0x3_0000].fill(1);
    bytes[0x1_0000..0x2_0000].chunks_exact_mut(8).for_each(|entry| entry.copy_from_slice(&block));
    let refusal = opened(&Recorder::of(bytes), TINY).err().unwrap();
    assert!(matches!(&refusal, Refusal::Unsupported(what) if what.contains("refcount table")), "{refusal:?}");
}

/// The image of a writer that named its tables before it counted them, and died.
fn uncounted() -> Vec<u8> {
    let file = made(1 << 20, Layout::default());
    {
        let image = opened(&file, TINY).unwrap();
        write(&image, 0, &[7; 0x1_0000]).unwrap();
    }
    let mut bytes = file.bytes();
    // Refcounts of the L2 table and the data: clusters 4 and 5.
    bytes[0x2_0008..0x2_000c].fill(0);
    bytes
}

#[test]
fn tables_that_a_dead_writer_did_not_count_are_counted() {
    let file = Recorder::of(uncounted());
    assert_eq!(verdict(&*file).unwrap().low, 2);
    let image = opened(&file, TINY).unwrap();
    write(&image, 0x8_0000, &[8; 0x2_0000]).unwrap();
    image.flush().unwrap();
    assert_eq!(read(&image, 0, 0x1_0000), vec![7; 0x1_0000]);
    drop(image);
    assert_eq!(verdict(&*file).unwrap(), Verdict::default());
}

#[test]
fn an_image_that_was_left_dirty_is_repaired_and_clean_then() {
    let mut bytes = uncounted();
    bytes[79] = 1;
    // And a leak: a cluster that nothing names.
    bytes[0x2_0010 + 1] = 1;
    bytes.resize(0x8_0000, 0);
    let file = Recorder::of(bytes);
    let image = opened(&file, TINY).unwrap();
    assert_eq!(read(&image, 0, 512), [7; 512]);
    drop(image);
    assert_eq!(file.bytes()[79], 0);
    assert_eq!(verdict(&*file).unwrap(), Verdict::default());
}

#[test]
fn a_cluster_that_is_used_twice_is_not_repaired_but_told() {
    let mut bytes = uncounted();
    // The second guest cluster names the first's host cluster.
    let entry = bytes[0x4_0000..0x4_0008].to_vec();
    bytes[0x4_0008..0x4_0010].copy_from_slice(&entry);
    let refusal = opened(&Recorder::of(bytes), TINY).err().unwrap();
    assert!(matches!(&refusal, Refusal::Unsupported(what) if what.contains("qemu-img check -r all")));
}

/// A disk of a megabyte, part of it sevens. What is free in the file are fives: not every host gives space back.
fn sevens(layout: Layout) -> Vec<u8> {
    let file = made(1 << 20, layout);
    let image = opened(&file, TINY).unwrap();
    write(&image, 0, &[7; 0x1_0000]).unwrap();
    write(&image, 0x4_0000, &[7; 0x8000]).unwrap();
    image.discard(0x4000, 0x2000).unwrap();
    drop(image);
    let header = header::read(&*file, true).unwrap();
    let mut state = State::load(&*file, &header, TINY, true).unwrap();
    let mut bytes = file.bytes();
    for (index, cluster) in bytes.chunks_mut(header.geometry.cluster() as usize).enumerate() {
        if state.refcount(&*file, index as u64).unwrap() == 0 {
            cluster.fill(5);
        }
    }
    bytes
}

/// Damages a byte of a table or a block, mostly of an entry that says something: the file, the byte, the bit.
fn with_one_bit_damaged(sound: &[u8], random: &mut Random) -> (Vec<u8>, usize, u64) {
    let file = Recorder::of(sound.to_vec());
    let header = header::read(&*file, true).unwrap();
    let state = State::load(&*file, &header, TINY, true).unwrap();
    let cluster = header.geometry.cluster();
    // Not the header itself.
    let metadata: Vec<u64> = state.metadata.iter().skip(1).map(|index| index * cluster).collect();
    let any = random.below(4) == 0;
    let at = loop {
        let at = metadata[random.below(metadata.len() as u64) as usize] + random.below(cluster);
        let word = at as usize / 8 * 8;
        if any || sound[word..word + 8] != [0; 8] {
            break at as usize;
        }
    };
    let bit = random.below(8);
    let mut bytes = sound.to_vec();
    bytes[at] ^= 1 << bit;
    (bytes, at, bit)
}

#[test]
fn the_checker_sees_what_qemu_img_sees() {
    let sound = sevens(layout(9, 4));
    let mut random = Random::new(7);
    let mut damaged = 0;
    for round in 0..60 {
        let (bytes, at, _) = with_one_bit_damaged(&sound, &mut random);
        let ours = verdict(&*Recorder::of(bytes.clone())).is_ok_and(|found| whole(&found));
        let Some(theirs) = qemu_objects(&bytes) else { return };
        if let (true, Err(said)) = (ours, theirs) {
            panic!("round {round}: byte {at:#x}: {said}");
        }
        damaged += u32::from(!ours);
    }
    assert!(damaged > 10, "{damaged}");
}

/// What the disk holds, by sectors; None where it cannot be read.
fn contents(image: &Qcow2) -> Vec<Option<[u8; 512]>> {
    let sector = |at: u64| {
        let mut bytes = [0xcc; 512];
        image.read(&mut Target::Bytes(&mut bytes), at * 512).ok().map(|()| bytes)
    };
    (0..image.size() / 512).map(sector).collect()
}

/// Reads and writes an image that has one bit damaged. Whether anything of it was refused.
fn uses_no_damage(
    bytes: Vec<u8>,
    before: &[Option<[u8; 512]>],
    zeros: bool,
    random: &mut Random,
    what: &str,
) -> bool {
    let file = Recorder::of(bytes);
    let Ok(image) = opened(&file, TINY) else { return true };
    let found = contents(&image);
    let mut refused = found.contains(&None);
    let mut expected = found.clone();
    for (sector, (found, before)) in found.iter().zip(before).enumerate() {
        let sound = found.is_none() || found == before || (zeros && *found == Some([0; 512]));
        assert!(sound, "{what}: sector {sector} reads {:x?}", found.map(|bytes| bytes[0]));
    }
    for _ in 0..64 {
        let sector = random.below(before.len() as u64);
        match write(&image, sector * 512, &[9; 512]) {
            Ok(()) => expected[sector as usize] = Some([9; 512]),
            Err(_) => refused = true,
        }
    }
    for (sector, (found, expected)) in contents(&image).iter().zip(&expected).enumerate() {
        assert!(found.is_none() || found == expected, "{what}: sector {sector} is another's");
    }
    refused
}

#[test]
fn a_damaged_entry_is_refused_and_never_served() {
    let mut random = Random::new(3);
    let version2 = Layout { version: 2, ..layout(9, 4) };
    for (layout, name) in
        [(layout(9, 4), "512"), (layout(12, 4), "4096"), (layout(9, 0), "1 bit"), (version2, "2")]
    {
        let sound = sevens(layout);
        let before = contents(&opened(&Recorder::of(sound.clone()), TINY).unwrap());
        let mut refused = 0;
        for round in 0..300 {
            let (bytes, at, bit) = with_one_bit_damaged(&sound, &mut random);
            // A flag of its own makes a cluster zeros.
            let zeros = at % 8 == 7 && bit == 0;
            let what = format!("{name}: round {round}: byte {at:#x} bit {bit}");
            refused += u32::from(uses_no_damage(bytes, &before, zeros, &mut random, &what));
        }
        assert!(refused > 100, "{name}: {refused}");
    }
}

#[test]
fn an_entry_that_names_a_free_cluster_is_believed_of_a_dead_writer_only() {
    let file = made(1 << 20, Layout::default());
    drop(opened(&file, TINY).map(|image| write(&image, 0, &[7; 0x1_0000])));
    let mut sound = file.bytes();
    sound.extend([5; 0x1_0000]);
    // Guest cluster 1 names the last cluster of the file, as a new one of its own or as one that others may have.
    for (flags, taken) in [(0x80, true), (0, false)] {
        let mut bytes = sound.clone();
        bytes[0x4_0008..0x4_0010].copy_from_slice(&[flags, 0, 0, 0, 0, 6, 0, 0]);
        assert_eq!(opened(&Recorder::of(bytes), TINY).is_ok(), taken, "{flags:#x}");
    }
}

#[test]
fn what_was_not_looked_at_is_judged_when_it_is_used() {
    let entry = |cluster: u8| [0x80, 0, 0, 0, 0, cluster, 0, 0];
    // The L2 table is cluster 4, the data 5 and 6. What is put there when the image is open already was not looked at.
    let damaged = |at: u64, bytes: &[u8]| {
        let file = made(1 << 20, Layout::default());
        drop(opened(&file, TINY).map(|image| write(&image, 0, &[7; 0x2_0000])));
        let image = opened(&file, TINY).unwrap();
        image.state().refcounts.forget(0, u64::MAX);
        file.write(bytes, at).unwrap();
        image
    };
    let mut sector = [0; 512];
    let image = damaged(0x4_0008, &entry(4));
    assert!(image.read(&mut Target::Bytes(&mut sector), 0x1_0000).is_err(), "a table is no data");
    let image = damaged(0x2_0000 + 6 * 2, &[0, 0]);
    assert!(write(&image, 0x1_0000, &[9; 512]).is_err(), "the cluster may be another's by now");
    let image = damaged(0x4_0008, &entry(5));
    image.file.write(&[0, 2], 0x2_0000 + 5 * 2).unwrap();
    write(&image, 0x1_0000, &[9; 512]).unwrap();
    assert_eq!((read(&image, 0, 512), read(&image, 0x1_0000, 512)), (vec![7; 512], vec![9; 512]));
    // Who only reads knows where the tables are, too.
    let file = made(1 << 20, Layout::default());
    drop(opened(&file, TINY).map(|image| write(&image, 0, &[7; 0x2_0000])));
    file.write(&entry(4), 0x4_0008).unwrap();
    let image = Qcow2::open(Box::new(file), false).unwrap();
    assert!(image.read(&mut Target::Bytes(&mut sector), 0x1_0000).is_err());
    assert_eq!(read(&image, 0, 512), [7; 512]);
}
