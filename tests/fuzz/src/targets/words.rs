//! What people and tests write: lines of qtest, arguments of QEMU's, the monitor's lines for people; and a kernel.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;

use devicemodel::config::{GuestConfig, SerialConfig};
use devicemodel::monitor::commands::execute;
use devicemodel::monitor::context::{Context, Session, Shared};
use devicemodel::monitor::protocol::Command;
use devicemodel::qemu::{self, Task};
use devicemodel::qtest::command::{BLOCK_MOST, Reply, Session as Lines};
use devicemodel::qtest::{Access, Bare};
use firmware::DirectKernel;

use super::monitor::Patient;
use super::outcome;

/// Most lines of an input that are carried out.
const LINES_MOST: usize = 32;
/// Most bytes of a block here; larger ones only cost time.
const BLOCK_HERE: u64 = 4096;

/// Whether a line moves more than is worth the time.
fn is_long(line: &str) -> bool {
    let len = line.split_ascii_whitespace().nth(2).and_then(|word| {
        let hex = word.strip_prefix("0x").map(|digits| u64::from_str_radix(digits, 16));
        hex.unwrap_or_else(|| word.parse()).ok()
    });
    // A port's value is no length, and what is refused anyway costs nothing.
    len.is_some_and(|len| len > BLOCK_HERE && len <= BLOCK_MOST) && !line.starts_with("out")
}

/// Lines of the qtest protocol, to a whole machine.
pub fn qtest(bytes: &[u8]) -> u64 {
    let config = GuestConfig {
        memory_mib: 2,
        devices: Vec::new(),
        rtc_base: Some(1_767_225_600),
        serial: vec![SerialConfig::Null],
        ..GuestConfig::default()
    };
    let Ok(mut bare) = Bare::new(config, None) else { panic!("the machine is not built") };
    let still = bare.access().still().clone();
    let access = Access::new(still, bare.machine().bus());
    let mut session = Lines::new(access, bare.machine().isa(), Arc::clone(bare.taps()));
    let mut told = String::new();
    let text = String::from_utf8_lossy(bytes);
    for line in text.lines().filter(|line| !is_long(line)).take(LINES_MOST) {
        match session.execute(line) {
            Reply::Line(reply) => {
                assert!(!reply.contains('\n'), "a reply of several lines");
                assert!(reply.starts_with("OK") || reply.starts_with("FAIL"), "a reply of no kind: {reply}");
                told.extend(reply.chars().take(60));
            }
            Reply::Later => session.forget(),
        }
        bare.settle();
        let changes = session.changes();
        assert!(changes.len() < 4 << 20, "{} bytes about wires", changes.len());
    }
    session.forget();
    assert_eq!(session.execute("endianness"), Reply::Line("OK little".into()), "the machine answers on");
    outcome((), &told)
}

pub fn qtest_seeds() -> Vec<Vec<u8>> {
    let lines = [
        "outl 0xcf8 0x80000000\ninl 0xcfc\ninw 3326\noutb 0x70 017\ninb 0x71",
        "write 0x1000 4 0x01020304\nread 0x1000 8\nb64write 0x2000 3 /+7d\nb64read 0x2000 4\nmemset 0x2000 3 0x5a",
        "writeq 0x1000 0x1122334455667788\nreadb 0x1007\nreadl 0xfed00000\nreadq 0xfec00000",
        "irq_intercept_in ioapic\noutb 0x43 0x30\noutb 0x40 0xe8\noutb 0x40 3\nclock_step 2000000\nclock_step",
        "set_irq_in /machine/unattached/ioapic unnamed-gpio-in 20 1\nset_irq_in ioapic a 20 0\nclock_set 5",
        "outb 0xcf9 6\nendianness\nmodule_load hw- usb\nirq_intercept_out ioapic\nflub 1\ninb\nread 0 -1",
        "outw 0x510 25\ninb 0x511\noutl 0x514 0\noutl 0x518 0x01000000\noutb 0x1f7 0xec\ninw 0x1f0",
    ];
    lines.iter().map(|lines| lines.as_bytes().to_vec()).collect()
}

/// A command line of QEMU's: one argument a line.
pub fn argv(bytes: &[u8]) -> u64 {
    let arguments: Vec<OsString> =
        bytes.split(|byte| *byte == b'\n').map(|word| OsString::from_vec(word.to_vec())).collect();
    let told = match qemu::parse(&arguments).and_then(Task::new) {
        Err(error) => error.to_string(),
        Ok(Task::Guest(plan)) => {
            assert_eq!(plan.guest.clone().check(), Ok(()), "a guest that is none was planned");
            format!("guest {:?} {:?}", plan.guest.features, plan.hypervisor)
        }
        Ok(Task::Probe(monitors, _, _)) => format!("probe {}", monitors.len()),
        Ok(Task::Listing(text)) => text,
        Ok(Task::Help) => "help".into(),
        Ok(Task::Version) => "version".into(),
    };
    outcome((), &told)
}

pub fn argv_seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = qemu::options::OPTIONS
        .iter()
        .map(|row| format!("-{}\n{}", row.name, row.value.map_or("", |_| "help")).into_bytes())
        .collect();
    for line in [
        "-xen-domid 5 -chardev socket,id=a,path=/q,server,nowait -mon chardev=a,mode=control -machine xenfv -m 112",
        "-drive file=/a,,b,c.img,if=ide,index=0,media=disk,format=raw,cache=writeback -boot order=c,once=d,menu",
        "-drive if=none,readonly=on,id=x,file=/l.iso -device ide-cd,drive=x,bus=ide.1,unit=0 -smp 1,maxcpus=2",
        "-blockdev {'driver':'qcow2','node-name':'d','file':{'driver':'file','filename':'/a'}} -device ide-hd,drive=d",
        "-vnc [::1]:3,password=on,to=99 -k de -action reboot=shutdown,panic=pause -rtc base=2026-01-02T03:04:05",
        "-machine none -accel qtest -qtest unix:/q -audio none -m size=1.5G,slots=2 -global VGA.vgamem_mb=8",
        "-netdev tap,id=n,script=no,downscript=no -incoming fd:9 -runas 1:2 -run-with chroot=/,user=q -icount 3",
        "-kernel /k -initrd /i -append quiet -uuid 00112233-4455-6677-8899-aabbccddeeff -serial unix:/s,server",
    ] {
        seeds.push(line.replace(' ', "\n").into_bytes());
    }
    seeds
}

/// The monitor's lines for people.
pub fn human(bytes: &[u8]) -> u64 {
    let (mut shared, mut session) = (Shared::default(), Session::default());
    let mut told = String::new();
    for line in String::from_utf8_lossy(bytes).lines().take(LINES_MOST) {
        let mut context = Context {
            guest: &mut Patient,
            shared: &mut shared,
            session: &mut session,
            monitors: &[],
            notify: &mut |_, _| (),
            later: None,
        };
        let mut arguments = serde_json::Map::new();
        arguments.insert("command-line".into(), line.into());
        let command = Command { name: "human-monitor-command".into(), arguments, id: None };
        let answer = execute(&command, &mut context).expect("an answer, whatever the line is");
        let text = answer.as_str().expect("text").to_owned();
        assert!(text.is_empty() || text.ends_with("\r\n"), "{text:?} has no end");
        told.extend(text.chars().take(60));
    }
    outcome((), &told)
}

pub fn human_seeds() -> Vec<Vec<u8>> {
    let lines = [
        "info status\ninfo pci\ninfo block\ninfo qom-tree\nhelp\ninfo\ninfo inspect a/b\ninfo cpus",
        "change ide1-cd0 \"/a b/\\\"c\\\".iso\" raw\nchange ide1-cd0 -f /d\neject -f ide1-cd0\neject x",
        "sendkey ctrl-alt-delete 0x64\nsendkey 0x1e\nmouse_move 010 -0x5 1\nmouse_button (1|4)&7\nscreendump /a -f png",
        "mouse_button ~0-'a'*$rip/(3%2)^1\nmouse_button ((((((1))))))\nballoon 1.5G\nset_link net0 off",
        "stop\ncont\ns\nc\nsystem_reset\nsystem_powerdown\nsystem_wakeup\nquit",
        "qom-list /machine\nqom-get ioapic version\ndevice_del x\nchardev-remove x\nclosefd x\nobject_del x",
    ];
    lines.iter().map(|lines| lines.as_bytes().to_vec()).collect()
}

/// A kernel: a byte of RAM in MiB, one for the initrd in pages, a command line up to its line feed, the image.
pub fn kernel(bytes: &[u8]) -> u64 {
    let [ram, pages, rest @ ..] = bytes else { return 0 };
    let mut parts = rest.splitn(2, |byte| *byte == b'\n');
    let line = String::from_utf8_lossy(parts.next().unwrap_or_default());
    let image = parts.next().unwrap_or_default();
    let (ram, initrd) = (u64::from(*ram) << 20, vec![0x5a; usize::from(*pages) << 12]);
    match DirectKernel::new(image, initrd, &line, ram) {
        Err(error) => {
            let text = error.to_string();
            assert!(!text.contains('\n'), "an error of several lines");
            outcome(0, &text)
        }
        Ok(kernel) => {
            let items = kernel.items();
            let bytes: usize = items.iter().map(|item| item.bytes.len()).sum();
            // The setup code, the kernel and the rest of the input are there once, beside the option ROM.
            assert!(
                bytes <= image.len() + line.len() + (usize::from(*pages) << 12) + (16 << 10),
                "{bytes} bytes"
            );
            outcome(items.len(), "")
        }
    }
}

pub fn kernel_seeds() -> Vec<Vec<u8>> {
    let seed = |version: u16, sectors: u8, line: &str| {
        let mut image = vec![0x90; (usize::from(sectors.max(4)) + 1) * 512 + 700];
        let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
        put(0x1f1, &[sectors]);
        put(0x1fe, &[0x55, 0xaa, 0xeb, 0x6a]);
        put(0x202, b"HdrS");
        put(0x206, &version.to_le_bytes());
        put(0x211, &[1]);
        put(0x22c, &0x7fff_ffff_u32.to_le_bytes());
        put(0x238, &2047_u32.to_le_bytes());
        put(0x258, &0x10_0000_u64.to_le_bytes());
        put(0x260, &0x10_0000_u32.to_le_bytes());
        [&[64, 3], line.as_bytes(), b"\n", &image].concat()
    };
    vec![
        seed(0x020f, 2, "quiet vga=0x317"),
        seed(0x0202, 4, ""),
        seed(0x0201, 4, ""),
        seed(0x0206, 0, "vga=ask"),
        seed(0x020f, 2, "vga=nice"),
        vec![0; 600],
    ]
}
