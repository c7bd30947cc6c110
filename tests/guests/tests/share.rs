//! A folder of the host's, shared with Debian's cloud kernel by virtiofsd.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use guest_tests::random::Random;
use guest_tests::{Guest, Machine, case, seconds};

const APPEND: &str = "console=ttyS0,115200 ailurus=shell quiet";

/// What tells a tree's files and their contents, in a shell of the guest's and of the host's.
const SUM: &str = "find . -type f | sort | xargs sha256sum | sha256sum";

/// Folders with files of all sizes, up to 300 KB.
fn tree(at: &Path) -> Result<()> {
    let mut random = Random::new();
    for folder in 0..8 {
        let folder = at.join(format!("folder{folder}/within"));
        fs::create_dir_all(&folder)?;
        for file in 0..12 {
            let len = random.below(1 << (4 + file)) as usize * if file == 11 { 10 } else { 1 };
            let bytes: Vec<u8> = (0..len).map(|_| random.below(256) as u8).collect();
            fs::write(folder.join(format!("file{file}")), bytes)?;
        }
    }
    Ok(())
}

fn sum(folder: &Path) -> Result<String> {
    let output = Command::new("sh").arg("-c").arg(SUM).current_dir(folder).output()?;
    ensure!(output.status.success(), "the host cannot tell the tree");
    Ok(String::from_utf8(output.stdout)?.split(' ').next().unwrap_or_default().to_owned())
}

fn run(guest: &mut Guest, command: &str, done: &str) -> Result<String> {
    // What is typed does not have the word that is waited for.
    guest.type_line(&format!("{command} && echo '{}''{}'", &done[..2], &done[2..]))?;
    guest.wait_for(done, seconds(120))
}

#[test]
#[ignore = "all: copies a tree of files by virtiofs"]
fn a_tree_of_files_is_copied_both_ways() {
    case("virtiofs: a tree of 96 files read, copied and written", || {
        let folder = tempfile::tempdir()?;
        let shared = folder.path().join("shared");
        tree(&shared.join("in"))?;
        let expected = sum(&shared.join("in"))?;
        let mut guest = Machine::new()?.kernel("virtio", APPEND)?.share(&shared, "data")?.boot()?;
        guest.wait_for("ailurus:/root#", seconds(240))?;
        run(&mut guest, "mkdir -p /mnt /tmp && mount -t virtiofs data /mnt", "MOUNTED")?;
        let said = run(&mut guest, &format!("(cd /mnt/in; echo sum $({SUM}))"), "SUMMED");
        ensure!(said.is_ok() && guest.said().contains(&format!("sum {expected}")), "{}", guest.said());
        run(&mut guest, "cp -r /mnt/in /tmp/copy && cp -r /tmp/copy /mnt/out && sync", "COPIED")?;
        ensure!(sum(&shared.join("out"))? == expected, "what the guest wrote differs");
        run(&mut guest, "rm -r /mnt/out && umount /mnt && mount -t virtiofs data /mnt", "AGAIN")?;
        ensure!(!shared.join("out").exists(), "what the guest removed is there");
        Ok(())
    });
}
