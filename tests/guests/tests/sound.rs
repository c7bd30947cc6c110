//! Debian's generic kernel plays to a file: what is in the file is what was played, frame by frame.
//!
//! The player is perl, of this machine, which speaks to ALSA's devices itself. Guest time is the count of instructions, so
//! that no busy host makes the player late.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use guest_tests::random::Random;
use guest_tests::{Guest, Machine, case, perl, seconds};

const APPEND: &str = "console=ttyS0,115200 ailurus=shell quiet";
const HEAD: usize = 44;

/// `player FILE RATE`: all of a file of frames of two channels of 16 bits, as loud as it goes. Structures and numbers are
/// those of Linux's `sound/asound.h`: a value for each control of the mixer; parameters that may be anything, but for
/// access, format, channels, rate, and eight periods of 20 ms.
const PLAYER: &str = r#"
my ($file, $rate) = @ARGV;
open(my $mixer, "+<", "/dev/snd/controlC0") or die "mixer: $!";
for my $control (1 .. 40) {
    my $value = pack("L x60 L x4 q q x1136", $control, 0, 127, 127);
    ioctl($mixer, 0xc4c85513, $value);
}
sysopen(my $card, "/dev/snd/pcmC0D0p", 1) or die "card: $!";
my @any = (0, 0xffffffff, 0);
my @intervals = map { [@any] } 0 .. 11;
$intervals[2] = [2, 2, 4];
$intervals[3] = [$rate, $rate, 4];
$intervals[5] = [$rate / 50, $rate / 50, 4];
$intervals[7] = [8, 8, 4];
my $params = pack("L" . "L x28" x 3 . "x160", 0, 8, 4, 1);
$params .= pack("L3", @$_) for @intervals;
$params .= pack("x108 L x20 x8 x64", 0xffffffff);
ioctl($card, 0xc2604111, $params) or die "parameters: $!";
ioctl($card, 0x4140, 0) or die "prepare: $!";
open(my $data, "<", $file) or die "$file: $!";
my ($all, $late) = (0, 0);
while (sysread($data, my $piece, 16384)) {
    for (my $done = 0; $done < length $piece;) {
        my $now = syswrite($card, $piece, length($piece) - $done, $done);
        if (!defined $now) {
            $late++;
            ioctl($card, 0x4140, 0) or die "prepare after $all: $!";
            next;
        }
        ($done, $all) = ($done + $now, $all + $now);
        print "at $all\n" if $all % (1 << 18) < $now;
    }
}
ioctl($card, 0x4144, 0);
print "played $all, late $late\n";
"#;

/// A tone on the left, and on the right noise in which every place is like no other.
fn source(rate: u32, frames: u32) -> Vec<u8> {
    let mut random = Random::new();
    let tone =
        |n: u32| (f64::from(n) * 440.0 * std::f64::consts::TAU / f64::from(rate)).sin() * 20_000.0 + 1.0;
    let frame = |n| [tone(n) as i16, random.below(65_536) as i32 as i16];
    (0..frames).flat_map(frame).flat_map(i16::to_le_bytes).collect()
}

/// The frames of a file, which is whole.
fn frames(file: &Path) -> Result<Vec<u8>> {
    let bytes = std::fs::read(file)?;
    let word =
        |at: usize| bytes[at..at + 4].iter().rev().fold(0, |word, byte| word << 8 | usize::from(*byte));
    ensure!(bytes.len() >= HEAD && bytes.starts_with(b"RIFF"), "{} is no such file", file.display());
    let len = word(40);
    ensure!(len + HEAD == bytes.len() && word(4) + 8 == bytes.len(), "the header says {len}");
    Ok(bytes[HEAD..].to_vec())
}

/// Whether what was heard is what was played, from its first frame to its last, with silence before and after.
fn is_heard(heard: &[u8], source: &[u8]) -> Result<()> {
    let begin = heard.windows(64).position(|window| window == &source[..64]).context("it was not played")?;
    ensure!(heard[..begin].iter().all(|byte| *byte == 0), "something was played before");
    let (played, expected) = (heard[begin..].chunks(4), source.chunks(4));
    let same = played.zip(expected).take_while(|(played, expected)| played == expected).count();
    ensure!(4 * same == source.len(), "frame {same} of {} is another, or lacks", source.len() / 4);
    Ok(())
}

/// A guest at its shell with perl and `source`; what it plays is in `wav`.
fn shell(
    folder: &Path,
    wav: &Path,
    rate: u32,
    source: &[u8],
    with: impl FnOnce(Machine) -> Machine,
) -> Result<Guest> {
    let disk = perl::disk(folder, &[("player", PLAYER.as_bytes()), ("source", source)])?;
    let machine = with(Machine::new()?.icount().virtio_disk(&disk, "raw", "").sound(wav, rate));
    let mut guest = machine.kernel("sound", APPEND)?.boot()?;
    guest.wait_for("ailurus:/root#", seconds(400))?;
    guest.type_line("mkdir -p /usr; tar -xf /dev/vda -C /; export PATH=$PATH:/usr/bin; echo un'packed'")?;
    guest.wait_for("unpacked", seconds(120))?;
    Ok(guest)
}

/// A guest that plays `source`.
fn play(folder: &Path, wav: &Path, rate: u32, source: &[u8], devices: &[&str]) -> Result<Guest> {
    let plug = |machine| devices.iter().fold(machine, |machine: Machine, device| machine.device(*device));
    let mut guest = shell(folder, wav, rate, source, plug)?;
    guest.type_line(&format!("perl /player /source {rate}"))?;
    Ok(guest)
}

fn ends_well(guest: &mut Guest, len: usize) -> Result<()> {
    guest.wait_for(&format!("played {len}, late 0"), seconds(400))?;
    guest.type_line("poweroff -f")?;
    guest.wait_power_off(seconds(120))
}

/// Plays five seconds.
fn plays(devices: &[&str], rate: u32) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let wav = folder.path().join("wav");
    let source = source(rate, 5 * rate);
    let mut guest = play(folder.path(), &wav, rate, &source, devices)?;
    ends_well(&mut guest, source.len())?;
    is_heard(&frames(&wav)?, &source)
}

/// Plays a minute, and is saved and restored in the midst of it: guest time runs ahead while the save is asked for.
fn in_two_parts(devices: &[&str]) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (wav, saved) = (folder.path().join("wav"), folder.path().join("saved"));
    let source = source(48_000, 60 * 48_000);
    let mut guest = play(folder.path(), &wav, 48_000, &source, devices)?;
    guest.wait_for("at 2", seconds(240))?;
    guest.save(&saved)?;
    let mut heard = frames(&wav)?;
    println!("  saved after {} frames", heard.len() / 4);
    ensure!(heard.len() < source.len(), "it had ended by then");
    let mut guest = Guest::restore(&saved)?;
    ends_well(&mut guest, source.len())?;
    heard.extend(frames(&wav)?);
    is_heard(&heard, &source)
}

const HDA: [&str; 2] = ["intel-hda", "hda-duplex,audiodev=sound"];
const AC97: [&str; 1] = ["AC97,audiodev=sound"];

#[test]
fn hda_plays() {
    case("HD Audio: five seconds of a tone and noise", || plays(&HDA, 48_000));
}

#[test]
fn ac97_plays() {
    case("AC'97: five seconds of a tone and noise", || plays(&AC97, 48_000));
}

#[test]
fn es1370_plays() {
    // Its converter's rate is 1.4112 MHz divided: that of CDs it has exactly.
    case("ES1370: five seconds of a tone and noise", || plays(&["ES1370,audiodev=sound"], 44_100));
}

/// Linux beeps by counter 2 of the 8254: 1193 ticks a period, 500 ms.
const BEEP: &str = r#"perl -e 'open(my $t, ">", "/dev/tty0") or die $!; ioctl($t, 0x4b30, 500 << 16 | 1193); sleep 1; print "beeped\n"'"#;

#[test]
fn the_speaker_beeps() {
    case("the PC's speaker: half a second of 1000 Hz", || {
        let folder = tempfile::tempdir()?;
        let wav = folder.path().join("wav");
        let mut guest = shell(folder.path(), &wav, 48_000, &[], |machine| machine.speaker())?;
        guest.type_line(BEEP)?;
        guest.wait_for("beeped\r", seconds(120))?;
        guest.type_line("poweroff -f")?;
        guest.wait_power_off(seconds(120))?;
        let frames = frames(&wav)?;
        let left: Vec<i16> = frames.chunks(4).map(|frame| i16::from_le_bytes([frame[0], frame[1]])).collect();
        let (low, high) = (left.iter().min().context("nothing")?, left.iter().max().context("nothing")?);
        ensure!(low < high, "silence");
        let is_high = |sample: &i16| 2 * i32::from(*sample) > i32::from(*low) + i32::from(*high);
        let edges: Vec<usize> =
            (1..left.len()).filter(|at| is_high(&left[at - 1]) != is_high(&left[*at])).collect();
        let span = edges.last().zip(edges.first()).map_or(0, |(last, first)| last - first);
        println!("  {} edges in {span} frames", edges.len());
        // Linux's timer for the end of it goes by steps of 32 ms.
        ensure!((23_900..=26_000).contains(&span), "{span} frames");
        let tone = (edges.len() - 1) * 48_000 / (2 * span);
        ensure!((990..=1010).contains(&tone), "{tone} Hz");
        Ok(())
    });
}

#[test]
#[ignore = "all: plays for a minute"]
fn hda_plays_while_it_is_saved_and_restored() {
    case("HD Audio: a minute of a tone and noise, saved in mid-play", || in_two_parts(&HDA));
}

#[test]
#[ignore = "all: plays for a minute"]
fn ac97_plays_while_it_is_saved_and_restored() {
    case("AC'97: a minute of a tone and noise, saved in mid-play", || in_two_parts(&AC97));
}

#[test]
#[ignore = "all: plays for a minute"]
fn hda_plays_for_a_minute() {
    case("HD Audio of the ICH9: a minute at 44.1 kHz", || {
        let folder = tempfile::tempdir()?;
        let wav = folder.path().join("wav");
        let source = source(44_100, 60 * 44_100);
        let devices = ["ich9-intel-hda", "hda-output,audiodev=sound"];
        let mut guest = play(folder.path(), &wav, 44_100, &source, &devices)?;
        ends_well(&mut guest, source.len())?;
        is_heard(&frames(&wav)?, &source)
    });
}
