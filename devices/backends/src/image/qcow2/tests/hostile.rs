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
