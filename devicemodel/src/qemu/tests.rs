mod drives;

use std::collections::BTreeMap;

use devices_core::model::Value;
use std::ffi::{OsStr, OsString};

use proptest::prelude::*;

use backends::vnc::{Options, Place, Share, WebsocketPort};

use super::*;
use crate::config::{
    CacheMode, DeviceSpec, DiskConfig, DiskFormat, DiskKind, GuestConfig, HypervisorChoice, SerialConfig,
};
use crate::sandbox::User;

/// The arguments of one line; no argument here has a space in it.
fn task(line: &str) -> Result<Task, QemuError> {
    let arguments: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
    Task::new(parse(&arguments)?)
}

fn plan(line: &str) -> Plan {
    match task(line) {
        Ok(Task::Guest(plan)) => *plan,
        other => panic!("{other:?}"),
    }
}

fn refusal(line: &str) -> String {
    task(line).unwrap_err().to_string()
}

/// What libxl 4.17 wrote for a guest with everything, without the parts that are not built.
const FULL: &str = "-xen-domid 5 -no-shutdown
 -chardev socket,id=libxl-cmd,path=/var/run/xen/qmp-libxl-5,server=on,wait=off -mon chardev=libxl-cmd,mode=control
 -chardev socket,id=libxenstat-cmd,path=/var/run/xen/qmp-libxenstat-5,server=on,wait=off -mon chardev=libxenstat-cmd,mode=control
 -nodefaults -no-user-config -name full -vnc 127.0.0.1:0,to=99 -display none -serial file:/tmp/full-serial.log
 -device VGA,vgamem_mb=16 -boot order=c @USB@ -smp 1,maxcpus=2
 @NIC@
 @INCOMING@
 -machine xenfv,suppress-vmdesc=on -m 112
 -drive file=/srv/hello.img,if=ide,index=0,media=disk,format=raw,cache=writeback
 -drive if=none,readonly=on,id=ide-5632,file=/srv/linux.iso,format=raw -device ide-cd,id=ide-5632,drive=ide-5632,bus=ide.1,unit=0";

const USB: &str = "-usb -usbdevice tablet";
const NIC: &str = "-device e1000,id=nic0,netdev=net0,mac=00:16:3e:00:00:01
 -netdev type=tap,id=net0,ifname=vif5.0-emu,br=xenbr0,script=no,downscript=no";

/// The recorded line with its parts.
fn full(usb: &str, nic: &str, incoming: &str) -> String {
    FULL.replace("@USB@", usb).replace("@NIC@", nic).replace("@INCOMING@", incoming)
}

fn platform() -> DeviceSpec {
    DeviceSpec { model: "xen-platform".into(), id: None, bus: None, properties: BTreeMap::new() }
}

#[test]
fn a_file_is_written_anew_or_to_its_end() {
    let serial =
        |append: &str| plan(&format!("-chardev file,id=a,path=/b{append} -serial chardev:a")).guest.serial;
    assert_eq!(serial(",append=on"), [SerialConfig::Append("/b".into())]);
    assert_eq!(serial(",append=off"), serial(""));
    assert_eq!(serial(""), [SerialConfig::File("/b".into())]);
}

#[test]
fn libxl_starts_a_guest() {
    let plan = plan(&full("", "-net none", ""));
    let socket =
        |label: &str, path: &str| MonitorSocket { label: label.into(), at: SocketAt::Path(path.into()) };
    assert_eq!(
        plan.host.monitors,
        [
            socket("libxl-cmd", "/var/run/xen/qmp-libxl-5"),
            socket("libxenstat-cmd", "/var/run/xen/qmp-libxenstat-5")
        ]
    );
    let place = Place::Tcp { host: "127.0.0.1".into(), display: 0, to: 99 };
    assert_eq!(plan.host.vnc, Some(VncArg { options: Options::at(place), tls_creds: None }));
    assert!(!plan.host.paused);
    assert_eq!(plan.hypervisor, HypervisorChoice::Xen);
    assert_eq!(plan.xen, Some(XenOptions { domid: 5, ..XenOptions::default() }));
    let disk = DiskConfig {
        format: Some(DiskFormat::Raw),
        slot: Some(0),
        cache: CacheMode::Writeback,
        ..DiskConfig::new("/srv/hello.img")
    };
    let cd = DiskConfig {
        id: Some("ide-5632".into()),
        format: Some(DiskFormat::Raw),
        slot: Some(2),
        ..DiskConfig::cdrom("/srv/linux.iso")
    };
    let expected = GuestConfig {
        name: "full".into(),
        memory_mib: 112,
        vcpus: 1,
        max_vcpus: Some(2),
        boot: "c".into(),
        disks: vec![disk, cd],
        serial: vec![SerialConfig::File("/tmp/full-serial.log".into())],
        devices: vec![platform(), DeviceSpec::vga(16)],
        on_poweroff: crate::config::Action::Preserve,
        on_crash: crate::config::Action::Preserve,
        ..GuestConfig::default()
    };
    let devices = without_drives(plan.guest.devices.clone());
    assert_eq!(GuestConfig { devices, ..plan.guest }, expected);
}

#[test]
fn usb_is_there_when_it_is_asked_for() {
    let models = |line: &str| -> Vec<String> {
        let devices = plan(line).guest.devices;
        devices
            .iter()
            .filter(|device| device.model.contains("usb"))
            .map(|device| device.model.clone())
            .collect()
    };
    let plain = "-machine pc,accel=tcg -m 64 -nodefaults";
    assert_eq!(models(plain), Vec::<String>::new());
    assert_eq!(models("-machine pc,accel=tcg,usb=off -nodefaults"), Vec::<String>::new());
    assert_eq!(models("-machine pc,accel=tcg,usb=on -nodefaults"), ["piix3-usb-uhci"]);
    assert_eq!(models(&format!("{plain} -usb -usb")), ["piix3-usb-uhci"]);
    let both = models(&format!("{plain} -usbdevice tablet -usbdevice mouse"));
    assert_eq!(both, ["piix3-usb-uhci", "usb-tablet", "usb-mouse"]);
    // As xapi has it.
    let xapi = plan(&format!(
        "{plain} -usb -device usb-tablet,port=2 -global piix3-usb-uhci.subvendor_id=0x5853 \
         -global piix3-usb-uhci.subsystem_id=0x0001"
    ));
    let found = |model: &str| xapi.guest.devices.iter().find(|device| device.model == model).unwrap();
    assert_eq!(found("usb-tablet").properties["port"], Value::Uint(2));
    // As libvirt has it: JSON has no spaces there, which would end the argument here.
    let libvirt = plan(&format!(r#"{plain} -usb -device {{"driver":"usb-tablet","id":"t","port":"2"}}"#));
    let tablet = libvirt.guest.devices.iter().find(|device| device.model == "usb-tablet").unwrap();
    assert_eq!((tablet.id.as_deref(), &tablet.properties["port"]), (Some("t"), &Value::Uint(2)));
    assert_eq!(found("piix3-usb-uhci").properties["subvendor_id"], Value::Uint(0x5853));
    assert_eq!(found("piix3-usb-uhci").devfn(), Some(10));
    // As libxl has it.
    // What libxl writes for usbversion=2.
    let version_2 = "-device ich9-usb-ehci1,id=usb,addr=0x1d.0x7,multifunction=on \
        -device ich9-usb-uhci1,masterbus=usb.0,firstport=0,addr=0x1d.0,multifunction=on \
        -device ich9-usb-uhci2,masterbus=usb.0,firstport=2,addr=0x1d.0x1,multifunction=on \
        -device ich9-usb-uhci3,masterbus=usb.0,firstport=4,addr=0x1d.0x2,multifunction=on";
    let made = plan(&full(version_2, NIC, "")).guest.devices;
    let mut ours = GuestConfig { devices: Vec::new(), ..GuestConfig::default() };
    ours.add_usb_version(2).unwrap();
    assert!(ours.devices.iter().all(|device| made.contains(device)), "as an xl.cfg's");

    let libxl = plan(&full(USB, NIC, ""));
    assert_eq!(libxl.guest.devices.iter().filter(|device| device.model == "usb-tablet").count(), 1);
}

#[test]
fn what_is_not_built_is_named_in_one_line() {
    let plain = "-xen-domid 1 -machine pc,accel=xen -m 64 -nodefaults";
    let one = |option: &str| refusal(&format!("{plain} {option}"));
    assert_eq!(one("-device pcnet,id=nic0,netdev=net0"), "not built yet: -device pcnet (network card)");
    assert_eq!(
        one("-spice port=6000,tls-port=0,disable-ticketing=on,agent-mouse=on"),
        "not built yet: -spice (SPICE)"
    );
    assert_eq!(one("-usb -usbdevice braille"), "not built yet: -usbdevice braille (USB)");
    assert_eq!(one("-device lsi53c895a"), "not built yet: -device lsi53c895a (disk controller)");
    assert_eq!(one("-device ahci,id=ahci0"), "not built yet: -device ahci (disk controller)");
    assert_eq!(
        one("-drive file=a,if=ide,index=0,media=disk,format=vpc,cache=writeback"),
        "not built yet: -drive a format=vpc"
    );
    assert_eq!(one("-drive file=a,id=scsi0-hd0,format=raw,if=scsi"), "not built yet: -drive if=scsi");
    assert_eq!(
        one("-device adlib -device sb16"),
        "not built yet: -device adlib (sound card), -device sb16 (sound card)"
    );
    assert_eq!(
        one("-chardev pty,id=libxl-channel0"),
        "not built yet: -chardev id=libxl-channel0 (a line that is neither monitor, serial port, network nor a device's)"
    );
    assert_eq!(one("-display sdl"), "not built yet: -display sdl (window)");
    assert_eq!(
        one("-serial tcp:localhost:4444,server,nowait"),
        "not built yet: -serial tcp:localhost:4444,server,nowait"
    );
    assert_eq!(one("-serial /dev/ttyS0"), "not built yet: -serial /dev/ttyS0 (a device of the host)");
    assert_eq!(
        refusal("-M xenpv -xen-attach -nographic -monitor /dev/null -serial /dev/null -parallel /dev/null"),
        "not built yet: -M xenpv (back ends for PV guests), -xen-attach (back ends for PV guests), \
         -serial /dev/null (a device of the host)"
    );
}

#[test]
fn libxl_starts_a_restricted_guest() {
    let plan = plan(
        "-xen-domid 11 -no-shutdown -chardev socket,id=libxl-cmd,fd=15,server=on,wait=off -S
         -mon chardev=libxl-cmd,mode=control
         -chardev socket,id=libxenstat-cmd,path=/var/run/xen/qmp-libxenstat-11,server=on,wait=off
         -mon chardev=libxenstat-cmd,mode=control -nodefaults -no-user-config -name restrict -vnc none
         -display none -serial file:/tmp/restrict-serial.log -boot order=cda -smp 1,maxcpus=1 -net none
         -xen-domid-restrict -chroot /var/run/xen/qemu-root-11 -machine xenfv,suppress-vmdesc=on -m 56
         -drive file=/srv/hello.img,if=ide,index=0,media=disk,format=raw,cache=writeback -runas 200011:65534",
    );
    assert_eq!(plan.host.monitors[0], MonitorSocket { label: "libxl-cmd".into(), at: SocketAt::Fd(15) });
    let devices = without_drives(plan.guest.devices);
    assert_eq!((plan.host.paused, plan.host.vnc, devices), (true, None, vec![platform()]));
    assert_eq!(plan.host.sandbox.chroot.as_deref(), Some("/var/run/xen/qemu-root-11".as_ref()));
    assert_eq!(plan.host.sandbox.user, Some(User::Ids { uid: 200_011, gid: 65534 }));
    assert!(plan.xen.unwrap().restrict);
}

#[test]
fn libxl_restores_a_guest() {
    let plan = plan(&full("", "-net none", "-incoming fd:16"));
    assert_eq!(plan.host.incoming, Some(Incoming::Fd(16)));
    assert!(!plan.host.paused);
}

#[test]
fn newer_libxl_asks_what_the_program_can_do() {
    let probe = "-S -no-user-config -nodefaults -nographic -machine none,accel=xen
        -chardev socket,id=libxl-cmd,fd=7,server=on,wait=off -mon chardev=libxl-cmd,mode=control";
    let expected = MonitorSocket { label: "libxl-cmd".into(), at: SocketAt::Fd(7) };
    assert_eq!(task(probe), Ok(Task::Probe(vec![expected], None, vec![])));
}

/// What QEMU's libqtest writes, about a machine and about none.
#[test]
fn a_test_client_asks_what_the_program_can_do() {
    let line = "-qtest unix:/tmp/q.sock -qtest-log /dev/null -chardev socket,path=/tmp/q.qmp,id=char0
        -mon chardev=char0,mode=control -display none -audio none";
    let expected = MonitorSocket { label: "char0".into(), at: SocketAt::Peer("/tmp/q.qmp".into()) };
    let Ok(Task::Probe(monitors, Some(qtest), _)) = task(&format!("{line} -machine none -accel qtest"))
    else {
        panic!("no probe");
    };
    assert_eq!(monitors, [expected]);
    assert_eq!(qtest.place, Some(crate::qtest::server::QtestSocket::Connect("/tmp/q.sock".into())));
    let plan = plan(&format!("{line} -audiodev none,id=a -accel qtest"));
    assert!(plan.qtest.is_some());
    assert_eq!(refusal("-audiodev alsa,id=a"), "not built yet: -audiodev alsa (sound)");
}

#[test]
fn a_sound_card_is_asked_for_in_three_ways() {
    let sound = |line: &str| -> Vec<String> {
        let models = plan(line).guest.devices.into_iter().map(|device| device.model);
        models.filter(|model| model.contains("hda")).collect()
    };
    assert_eq!(sound("-device intel-hda -device hda-duplex"), ["intel-hda", "hda-duplex"]);
    assert_eq!(sound("-soundhw hda"), ["intel-hda", "hda-duplex"]);
    assert_eq!(sound("-audio wav,path=/w,model=hda"), ["intel-hda", "hda-duplex"]);
}

#[test]
fn a_device_is_put_where_its_address_says() {
    let devices = plan("-net none -device VGA,bus=pci.0,addr=1f.2,vgamem_mb=32").guest.devices;
    let devices = without_drives(devices);
    assert_eq!(devices.len(), 1, "the machine's own is meant");
    assert_eq!((devices[0].devfn(), &devices[0].properties["vgamem_mb"]), (Some(0xfa), &Value::Uint(32)));
    assert_eq!(refusal("-device VGA,bus=pci.9"), "-device VGA: Bus 'pci.9' not found");
    assert_eq!(refusal("-device VGA -device VGA"), "this guest: there can be only one VGA");
    assert!(refusal("-device VGA,addr=20").contains("'addr' expects"));
    assert_eq!(refusal("-device xen-platform"), "-device xen-platform: it needs a Xen domain");
}

#[test]
fn the_rest_of_the_contract_is_read() {
    let plan = plan(
        "-xen-domid 3 -nodefaults -vnc [::1]:3,password=on,to=99 -k de -kernel /boot/k -initrd /boot/i -append quiet
         -no-acpi -smp 2 -machine pc,accel=xen,suppress-vmdesc=on,max-ram-below-4g=2147483648 -m 4096
         -drive if=none,readonly=on,id=ide-832 -device ide-cd,id=ide-832,drive=ide-832,bus=ide.0,unit=1
         -device xen-pvdevice,device-id=0xc000 -run-with chroot=/empty,user=qemu -net none -serial pty -serial null",
    );
    let place = Place::Tcp { host: "::1".into(), display: 3, to: 99 };
    let options = Options { password: true, ..Options::at(place) };
    assert_eq!(plan.host.vnc, Some(VncArg { options, tls_creds: None }));
    assert_eq!(plan.host.keymap.as_deref(), Some("de"));
    let refused = refusal("-k klingon");
    assert!(refused.contains("'klingon'") && refused.contains("pt-br"), "{refused}");
    let xen = plan.xen.unwrap();
    assert_eq!(xen.max_ram_below_4g, Some(2 << 30));
    let devices = without_drives(plan.guest.devices.clone());
    let [device] = &devices[..] else { panic!("{devices:?}") };
    assert_eq!(
        (device.model.as_str(), &device.properties["device-id"]),
        ("xen-pvdevice", &Value::Uint(0xc000))
    );
    assert_eq!(plan.guest.serial, [SerialConfig::Pty, SerialConfig::Null]);
    assert_eq!(plan.guest.cmdline, "quiet");
    assert_eq!(plan.host.sandbox.user, Some(User::Name("qemu".into())));
    let cd = &plan.guest.disks[0];
    assert_eq!((cd.path.as_ref(), cd.slot, cd.kind), (None, Some(1), DiskKind::Cdrom));
}

#[test]
fn a_plain_pc_has_what_qemu_gives_it() {
    let plan = plan("-accel tcg,thread=multi -m 1G -hda a.img -nographic -rtc base=2026-01-02T03:04:05");
    assert_eq!(plan.hypervisor, HypervisorChoice::Soft);
    assert_eq!(plan.guest.memory_mib, 1024);
    assert_eq!(plan.guest.serial, [SerialConfig::Stdio]);
    let models: Vec<_> = plan.guest.devices.iter().map(|device| device.model.as_str()).collect();
    assert_eq!(models, ["VGA", "e1000", "ide-hd", "ide-cd"]);
    assert_eq!(plan.guest.netdevs[0].kind, "user");
    assert_eq!(plan.guest.rtc_base, Some(1_767_323_045));
    let places: Vec<_> = plan.guest.disks.iter().map(|disk| (disk.kind, disk.slot.unwrap())).collect();
    assert_eq!(places, [(DiskKind::Disk, 0), (DiskKind::Cdrom, 2)]);
    assert_eq!(task("-help"), Ok(Task::Help));
    assert_eq!(task("--version -soundhw x"), Ok(Task::Version));
}

#[test]
fn a_path_with_commas_survives_libxl() {
    let plan = plan(
        "-xen-domid 3 -machine xenfv -m 64 -nodefaults
         -drive file=/d/a,b=c.img,if=ide,index=0,media=disk,format=raw,cache=writeback
         -drive if=none,readonly=on,id=ide-5632,file=/d/x,y,format=raw -device ide-cd,drive=ide-5632,bus=ide.1,unit=0",
    );
    let paths: Vec<_> = plan.guest.disks.iter().map(|disk| disk.path.clone().unwrap()).collect();
    assert_eq!(paths, ["/d/a,b=c.img", "/d/x,y"].map(std::path::PathBuf::from));
    assert_eq!(plan.guest.disks[1].id.as_deref(), Some("ide-5632"));
}

#[test]
fn mistakes_are_named() {
    for (line, expected) in [
        ("-xen-domid", "-xen-domid: its value is missing"),
        ("-xen-domid 40000", "-xen-domid 40000: expected a domain id from 0 to 32751"),
        ("-frobnicate", "-frobnicate: invalid option"),
        ("disk.img", "disk.img: an option begins with a dash; a disk is given with -drive"),
        ("-device zork", "-device zork: 'zork' is not a valid device model name"),
        ("-device VGA,colour=red", "-device VGA: Property 'VGA.colour' not found"),
        ("-machine xenfv", "-xen-domid: it is missing: which domain is to be served?"),
        ("-xen-domid 1", "-xen-domid: it needs -machine xenfv or -machine pc,accel=xen"),
        ("-mon chardev=x,mode=control", "-mon chardev=x: there is no such chardev"),
        ("-m 0", "this guest: a guest needs memory: give at least 1 MiB"),
        ("-m 1.5X", "-m 1.5X: size=1.5X: expected a size such as 512M or 2G"),
        ("-smp 4,maxcpus=2", "-smp 4,maxcpus=2: 4 CPUs of at most 2 cannot be"),
        ("-smp 1,maxcpus=4000000000", "this guest: maxvcpus is not between 1 and 128"),
        ("-drive file=a,index=9", "-drive a: the IDE controller has places for four drives"),
        ("-drive file=a,index=0 -drive file=b,index=0", "this guest: two disks ask for IDE place 0"),
        ("-device ide-hd,drive=x", "-device ide-hd: there is no drive 'x'"),
        ("-incoming fd:1", "-incoming fd:1: fd 1 is none that can be given to us"),
        ("-vnc :1,websocket=x", "-vnc :1,websocket=x: VNC websocket=\"x\" is neither on nor off nor a port"),
        (
            "-vnc unix:/a,websocket=on",
            "-vnc unix:/a,websocket=on: a WebSocket needs a host and a port, and not a Unix socket",
        ),
        ("-vnc :1,audiodev=x", "-vnc: audiodev 'x' not found"),
        (
            "-vnc :1,share=x",
            "-vnc :1,share=x: VNC share policy \"x\" is not allow-exclusive, force-shared or ignore",
        ),
        ("-vnc :1,connections=0", "-vnc :1,connections=0: VNC connections=\"0\" is not a number from 1 on"),
        (
            "-vnc :5500,reverse=on",
            "-vnc :5500,reverse=on: reverse=on needs the host of the viewer that listens",
        ),
        ("-vnc nowhere", "-vnc nowhere: nowhere: expected HOST:DISPLAY, unix:PATH or none"),
        ("-vnc :60000", "-vnc :60000: :60000: expected HOST:DISPLAY, unix:PATH or none"),
        ("-serial chardev:x", "-serial chardev:x (port 0): there is no chardev 'x'"),
    ] {
        assert_eq!(refusal(line), expected, "{line}");
    }
}

#[test]
fn viewers_encrypt_with_certificates_of_an_object() {
    let object = "-object tls-creds-x509,id=t,dir=/pki,endpoint=server";
    let tls = |line: &str| plan(&format!("-m 64 {line}")).host.vnc_tls;
    let files = |verify_peer| Some(TlsFiles { id: "t".into(), folder: "/pki".into(), verify_peer });
    assert_eq!(tls(&format!("-vnc :1,tls-creds=t {object}")), files(true));
    assert_eq!(tls(&format!("{object},verify-peer=off -vnc :1,tls-creds=t,websocket=on")), files(false));
    assert_eq!(tls(&format!("{object} -vnc :1")), None);
    for (line, expected) in [
        ("-vnc :1,tls-creds=t", "-vnc: No TLS credentials with id 't'"),
        (
            "-object tls-creds-x509,id=t,dir=/pki",
            "-object tls-creds-x509,id=t,dir=/pki: Expecting TLS credentials with a server endpoint",
        ),
        (
            "-object tls-creds-x509,id=t,dir=/pki,endpoint=server,priority=NORMAL",
            "not built yet: -object priority=NORMAL (another choice of ciphers)",
        ),
    ] {
        assert_eq!(refusal(line), expected, "{line}");
    }
}

#[test]
fn what_passes_a_network_goes_to_a_file() {
    let line = "-m 64 -nodefaults -netdev user,id=n -object filter-dump,id=f,netdev=n,file=/x.pcap";
    let dumps = plan(line).guest.dumps;
    assert_eq!(
        (dumps[0].id.as_str(), dumps[0].file.to_str(), dumps[0].longest),
        ("f", Some("/x.pcap"), 65_536)
    );
    assert_eq!(plan(&format!("{line},maxlen=96")).guest.dumps[0].longest, 96);
    for (more, expected) in [
        (",maxlen=0", "Property 'filter-dump.maxlen' doesn't take value '0'"),
        (",colour=1", "Property 'filter-dump.colour' not found"),
        (" -object filter-dump,id=f,netdev=n,file=/y", "duplicate property 'f'"),
        (" -object filter-dump,id=g,netdev=x,file=/y", "expects a network backend id"),
        (" -object iothread,id=i", "not built yet: -object iothread (user-made objects)"),
    ] {
        let refused = refusal(&format!("{line}{more}"));
        assert!(refused.contains(expected), "{more}: {refused}");
    }
}

/// What switches with shared memory are told of.
#[test]
fn a_vhost_user_network_is_where_its_chardev_says() {
    let lead = |line: &str| {
        let plan = plan(&format!("-m 64 -nodefaults {line}"));
        let netdev = plan.guest.netdevs[0].spec().unwrap();
        let backends::net::NetSpec::VhostUser(spec) = netdev else { panic!("{netdev:?}") };
        (spec.address.to_string(), spec.server, spec.reconnect)
    };
    let netdev = "-netdev vhost-user,id=n,chardev=c,queues=1 -device e1000,netdev=n";
    let line = format!("{netdev} -chardev socket,id=c,path=/sw,server=on,wait=off");
    assert_eq!(lead(&line), ("unix:/sw".into(), true, None));
    let line = format!("-chardev socket,id=c,path=/sw,reconnect=3 {netdev}");
    assert_eq!(lead(&line), ("unix:/sw".into(), false, Some(std::time::Duration::from_secs(3))));
    let line = "-chardev socket,id=c,path=/sw -nic vhost-user,chardev=c";
    assert_eq!(lead(line), ("unix:/sw".into(), false, None));
    for chardev in ["null,id=c", "socket,id=d,path=/sw,server=on -serial chardev:d"] {
        let refused = refusal(&format!("{netdev} -chardev {chardev}"));
        assert_eq!(refused, "this guest: chardev 'c' is no unix socket that the command line has");
    }
    let again = refusal("-chardev socket,id=c,path=/s,reconnect=1 -serial chardev:c");
    assert!(again.starts_with("not built yet: -serial reconnect=1 (connecting again)"), "{again}");
}

/// What processes that serve devices are told of.
#[test]
fn a_device_of_another_process_names_the_chardev_that_leads_there() {
    use crate::config::BackEndPlace;
    let back_end = |chardev: &str| {
        let line =
            format!("-m 64 -device vhost-user-blk-pci,chardev=c,num-queues=2 -chardev socket,id=c,{chardev}");
        let found = plan(&line).guest.back_ends;
        (found[0].id.clone(), found[0].place.clone(), found[0].reconnect_ms)
    };
    let at = |place, time| ("c".to_owned(), place, time);
    assert_eq!(back_end("path=/s"), at(BackEndPlace::Connect("/s".into()), 0));
    assert_eq!(back_end("path=/s,reconnect=2"), at(BackEndPlace::Connect("/s".into()), 2000));
    assert_eq!(back_end("path=/s,reconnect-ms=50"), at(BackEndPlace::Connect("/s".into()), 50));
    assert_eq!(back_end("path=/s,server=on,wait=off"), at(BackEndPlace::Listen("/s".into()), 0));
    for (line, expected) in [
        ("-device vhost-user-blk-pci,chardev=c", "can't find value 'c'"),
        ("-device vhost-user-blk-pci", "chardev= is missing"),
        ("-device vhost-user-blk-pci,chardev=c -chardev null,id=c", "chardev 'c' is no unix socket"),
        ("-device vhost-user-fs-pci,chardev=c -chardev socket,id=c,path=/s", "tag"),
        ("-chardev socket,id=c,path=/s,reconnect=1,reconnect-ms=1", "mutually exclusive"),
        ("-chardev socket,id=c,path=/s,server=on,reconnect-ms=1", "incompatible"),
        ("-chardev socket,id=c,path=/s,reconnect-ms=1 -serial chardev:c", "connecting again"),
    ] {
        let refused = refusal(line);
        assert!(refused.contains(expected), "{line}: {refused}");
    }
}

/// What libxl of Xen 4.13 to 4.15.0 writes, and its neighbours.
#[test]
fn flags_of_sockets_have_a_short_form() {
    for chardev in [
        "socket,id=libxl-cmd,path=/q,server,nowait",
        "socket,server,nowait,id=libxl-cmd,path=/q",
        "socket,id=libxl-cmd,path=/q,server=on,nowait",
        "socket,id=libxl-cmd,server,nowait,path=/q",
        "socket,id=libxl-cmd,path=/x,path=/q,noserver,server",
        "backend=socket,id=libxl-cmd,path=/q,server,nowait,nodelay",
    ] {
        let plan = plan(&format!("-m 64 -nodefaults -chardev {chardev} -mon libxl-cmd,mode=control"));
        assert_eq!(plan.host.monitors[0].at, SocketAt::Path("/q".into()), "{chardev}");
    }
    let plan = plan("-qmp unix:/q,server,nowait -serial unix:/s,nowait,server");
    assert_eq!(plan.host.monitors[0].at, SocketAt::Path("/q".into()));
    assert_eq!(plan.guest.serial, [SerialConfig::Unix("/s".into())]);
}

#[test]
fn short_flags_work_in_every_list() {
    let websocket = |words: &str| plan(words).host.vnc.unwrap().options.websocket;
    let line = "-audiodev none,id=a -vnc viewer:5500,reverse=on,share=force-shared,connections=5,audiodev=a";
    let expected = Options {
        reverse: true,
        share: Share::ForceShared,
        connections: 5,
        audiodev: Some("a".into()),
        ..Options::at(Place::Tcp { host: "viewer".into(), display: 5500, to: 5500 })
    };
    assert_eq!(plan(line).host.vnc.unwrap().options, expected);
    assert_eq!(websocket("-vnc :1,websocket"), Some(WebsocketPort::OfDisplay));
    assert_eq!(websocket("-vnc :1,websocket=5800"), Some(WebsocketPort::Number(5800)));
    let plan = plan(
        "-m size=1.5G -machine pc,nohpet,noacpi -drive file=/a,b,readonly,nosnapshot -vnc :1,password,nolossy
         -device VGA,vgamem_mb=8,vgamem_mb=32 -boot c,menu,strict -netdev tap,id=n,script=no,downscript=no,novhost",
    );
    assert_eq!(plan.guest.memory_mib, 1536);
    assert!(!plan.guest.features.acpi && !plan.guest.features.hpet && plan.guest.features.graphics);
    let disk = &plan.guest.disks[0];
    assert_eq!((disk.path.as_deref(), disk.readonly), (Some("/a,b".as_ref()), true));
    assert!(plan.host.vnc.unwrap().options.password);
    assert_eq!(without_drives(plan.guest.devices), [DeviceSpec::vga(32)]);
    assert!(plan.guest.boot_options.menu && plan.guest.boot_options.strict);
}

#[test]
fn acpi_can_be_left_out() {
    for line in ["-machine pc,acpi=off", "-no-acpi", "-M acpi=no", "-no-acpi -machine pc"] {
        assert!(!plan(line).guest.features.acpi, "{line}");
    }
    assert!(plan("-machine pc,acpi=on").guest.features.acpi);
    assert!(!plan("-no-hpet").guest.features.hpet);
    let line = "-audiodev none,id=a -machine pc,pcspk-audiodev=a";
    assert_eq!(plan(line).guest.speaker.as_deref(), Some("a"));
    let refused = refusal("-machine pc,pcspk-audiodev=x");
    assert!(refused.contains("can't find audiodev 'x'"), "{refused}");
    assert!(!plan("-no-fd-bootchk").guest.features.floppy_check);
    assert!(!plan("-nographic").guest.features.graphics);
}

/// Words that asked for something else than there is, and were taken in silence.
#[test]
fn no_word_is_taken_in_silence() {
    for (line, expected) in [
        ("-machine pc,smm=on", "-machine smm=on (system management mode)"),
        ("-machine pc,i8042=off", "-machine i8042=off (a PC without it)"),
        ("-machine pc,vmport=on", "-machine vmport=on (VMware's port)"),
        ("-name a,process=b", "-name process=b (another name of the process)"),
        ("-overcommit mem-lock=on", "-overcommit mem-lock=on (locked memory)"),
        ("-mem-prealloc", "-mem-prealloc (memory taken from the host at the start)"),
        ("-win2k-hack", "-win2k-hack (a disk that answers late)"),
        ("-D log", "-D (a log file; AILURUS_LOG says what goes to standard error)"),
        ("-rtc base=utc,driftfix=slew", "-rtc driftfix=slew (making up for lost interrupts)"),
        (
            "-drive file=a,cache=directsync",
            "-drive cache=directsync (every write on the disk, past the page cache)",
        ),
        (
            "-drive file=a,cache.direct=on,cache.writeback=off",
            "-drive cache=directsync (every write on the disk, past the page cache)",
        ),
        ("-drive file=a,copy-on-read", "-drive copy-on-read=on (copying what is read from a backing file)"),
        ("-chardev null,id=a,mux=on", "-chardev mux=on (several users of one line)"),
        (
            "-chardev socket,id=a,path=b,server=on,wait=on",
            "-chardev wait=on (a start that waits for a client)",
        ),
        ("-vnc :1,power-control", "-vnc power-control=on (power control by clients)"),
        ("-icount shift=0,align=on", "-icount align=on (keeping to the host's time)"),
    ] {
        assert_eq!(refusal(line), format!("not built yet: {expected}"), "{line}");
    }
    for (line, expected) in [
        ("-accel tcg,speed=9", "-accel tcg,speed=9: the property 'speed' is not known"),
        ("-display none,gl=on", "-display none,gl=on: the property 'gl' is not known"),
        ("-name guest=a,b=c,d=e", ""),
        ("-name a,b=c,d=e", ""),
        ("-drive file=a,aio=fast", "-drive file=a,aio=fast: aio=fast: expected threads, native, io_uring"),
        (
            "-boot splash-time=70000",
            "-boot splash-time=70000: splash-time is invalid, it should be a value between 0 and 65535",
        ),
    ] {
        match task(line) {
            Err(error) => assert_eq!(error.to_string(), expected, "{line}"),
            Ok(_) => assert_eq!(expected, "", "{line}"),
        }
    }
    let said = |line: &str| plan(line).host.notes;
    assert!(said("-accel qtest -cpu Pentium9")[0].starts_with("-cpu: taken, and changes nothing"));
    assert!(said("-accel tcg -cpu Nehalem").is_empty());
    let hle = "warning: the soft CPU doesn't support requested feature: CPUID.07H:EBX.hle [bit 4]";
    assert!(said("-accel tcg -cpu Haswell").iter().any(|note| note == hle));
    assert_eq!(plan("-cpu max,-sse4.2").guest.cpu.as_deref(), Some("max,-sse4.2"));
    let wrong = refusal("-cpu Pentium9");
    assert_eq!(wrong, "-cpu Pentium9: unable to find CPU model 'Pentium9'");
    assert!(said("-L /usr/share")[0].starts_with("-L: taken"));
    assert!(said("-global ide-hd.serial=1")[0].contains("there is no such device"));
    assert!(said("-m 64 -name a,debug-threads=on -msg timestamp=on -overcommit mem-lock=off").is_empty());
}

#[test]
fn globals_reach_the_display_that_comes_by_itself() {
    let devices = |line: &str| without_drives(plan(line).guest.devices);
    assert_eq!(devices("-net none -global VGA.vgamem_mb=64"), [DeviceSpec::vga(64)]);
    assert_eq!(devices("-nic none -vga none -global VGA.vgamem_mb=64"), []);
    let models = |line: &str| devices(line).into_iter().map(|device| device.model).collect::<Vec<_>>();
    assert_eq!(models("-nic none -vga virtio"), ["virtio-vga"]);
    assert_eq!(models("-nic none -device virtio-vga,xres=800"), ["virtio-vga"], "instead of the usual one");
    assert_eq!(models("-nic none -device virtio-gpu-pci"), ["VGA", "virtio-gpu-pci"]);
    let two = refusal("-nic none -device VGA -device virtio-vga");
    assert_eq!(two, "this guest: there can be only one of VGA, cirrus-vga and virtio-vga");
    assert_eq!(models("-nic none -vga cirrus"), ["cirrus-vga"]);
    let libxl = devices("-nodefaults -net none -device cirrus-vga,vgamem_mb=8");
    assert_eq!((libxl.len(), libxl[0].memory()), (1, 8 << 20));
    assert_eq!(devices("-nic none -device cirrus-vga")[0].memory(), 4 << 20);
    assert!(refusal("-device cirrus-vga,vgamem_mb=64").contains("4, 8 or 16 is needed"));
    assert!(refusal("-global VGA.colour=1").contains("Property 'VGA.colour' not found"));
}

fn without_drives(mut devices: Vec<DeviceSpec>) -> Vec<DeviceSpec> {
    devices.retain(|device| !device.is_drive());
    devices
}

#[test]
fn drives_are_devices_with_what_is_said_of_them() {
    let serials = |line: &str| -> Vec<(String, Value)> {
        let drives = plan(line).guest.devices.into_iter().filter(DeviceSpec::is_drive);
        let serial = |mut drive: DeviceSpec| Some((drive.model, drive.properties.remove("serial")?));
        drives.filter_map(serial).collect()
    };
    let text = |model: &str, serial: &str| (model.to_owned(), Value::Text(serial.to_owned()));
    assert_eq!(serials("-hda a -global ide-hd.serial=1"), [text("ide-hd", "1")]);
    assert_eq!(serials("-drive file=a,serial=2 -hdb b"), [text("ide-hd", "2")]);
    let line = "-drive if=none,id=d,file=a -device ide-hd,drive=d,serial=3 -hdb b
        -global ide-hd.serial=4 -global ide-cd.serial=5";
    assert_eq!(
        serials(line),
        [text("ide-hd", "3"), text("ide-hd", "4")],
        "who names one as a device has no others"
    );
    assert_eq!(serials("-global ide-cd.serial=5"), [text("ide-cd", "5")]);
    let errors = |line: &str| {
        let drive = plan(line).guest.devices.into_iter().find(|device| device.has_image()).unwrap();
        ["rerror", "werror"].map(|name| drive.properties.get(name).cloned())
    };
    let stop = Some(Value::Text("stop".to_owned()));
    assert_eq!(errors("-drive file=a,werror=stop"), [None, stop.clone()]);
    assert_eq!(errors("-drive file=a,if=virtio,rerror=stop"), [stop.clone(), None]);
    let loose =
        "-drive if=none,id=d,file=a,werror=ignore,rerror=stop -device virtio-blk-pci,drive=d,werror=stop";
    assert_eq!(errors(loose), [stop.clone(), stop], "the device's own word counts");
    assert!(refusal("-drive file=a,rerror=enospc").contains("rerror"), "a read needs no space");
    assert!(refusal("-drive file=a,werror=halt").contains("werror"));
    let plan = plan(
        "-drive if=none,id=d,file=a -device ide-hd,drive=d,id=x,bus=ide.1,bootindex=3,cyls=2,heads=2,secs=2",
    );
    let drive = plan.guest.devices.iter().find(|device| device.is_drive()).unwrap();
    assert_eq!((drive.id.as_deref(), drive.drive_place()), (Some("x"), Some(2)));
    assert_eq!(plan.guest.disks[0].id.as_deref(), Some("d"), "the image has its own name");
    assert!(refusal("-drive if=none,id=d,file=a -device ide-hd,drive=d,cyls=2").contains("heads"));
    assert!(refusal("-hda a -device ide-cd,unit=0").contains("two disks ask for IDE place 0"));
}

#[test]
fn actions_and_boot_options_reach_the_guest() {
    use crate::config::Action;
    let ends = |line: &str| {
        let guest = plan(line).guest;
        (guest.on_poweroff, guest.on_reboot, guest.on_crash)
    };
    assert_eq!(ends(""), (Action::Destroy, Action::Restart, Action::Destroy));
    assert_eq!(ends("-no-reboot -no-shutdown"), (Action::Preserve, Action::Preserve, Action::Preserve));
    assert_eq!(
        ends("-action reboot=shutdown,panic=none"),
        (Action::Destroy, Action::Destroy, Action::Ignore)
    );
    assert!(plan("-action panic=exit-failure").host.panic_fails);
    let guest = plan("-boot order=cd,once=dnca,splash-time=100 -boot menu=on,reboot-timeout=-1").guest;
    assert_eq!((guest.boot.as_str(), guest.boot_options.once.as_deref()), ("cd", Some("dnc")));
    assert_eq!((guest.boot_options.splash_ms, guest.boot_options.reboot_ms), (Some(100), None));
    assert!(guest.boot_options.menu);
}

#[test]
fn the_program_knows_when_it_stands_in_for_qemu() {
    let asked = |program: &str, first: Option<&str>| is_asked_for(OsStr::new(program), first.map(OsStr::new));
    assert!(asked("/usr/bin/ailurus", Some("-xen-domid")));
    assert!(asked("/usr/libexec/xen-qemu-system-i386", None));
    assert!(asked("qemu-system-x86_64", Some("disk.img")));
    for first in [None, Some("run"), Some("--help"), Some("-h"), Some("--version"), Some("-V")] {
        assert!(!asked("ailurus", first), "{first:?}");
    }
}

proptest! {
    #[test]
    fn no_arguments_make_it_panic(
        picks in proptest::collection::vec((0..options::OPTIONS.len() + 3, "[a-z0-9:,=/.-]{0,24}|.{0,12}"), 0..8)
    ) {
        let mut arguments = Vec::new();
        for (pick, value) in picks {
            if let Some(row) = options::OPTIONS.get(pick) {
                arguments.push(OsString::from(format!("-{}", row.name)));
                arguments.extend(row.value.map(|_| OsString::from(&value)));
            } else {
                arguments.push(OsString::from(value));
            }
        }
        if let Ok(config) = parse(&arguments) {
            let _ = Task::new(config);
        }
    }

    /// The recorded line with damage still gives a guest or one error, and never a panic.
    #[test]
    fn a_damaged_line_is_no_panic(at in 0_usize..1200, byte in proptest::char::any()) {
        let mut line: Vec<char> = full("", "-net none", "-incoming fd:9").chars().collect();
        let at = at % line.len();
        line[at] = byte;
        let _ = task(&line.into_iter().collect::<String>());
    }
}

#[test]
fn a_file_says_what_the_command_line_says() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("guest.cfg");
    let at = file.display();
    let text = "[machine]\n type = \"pc\"\n hpet = \"off\"\n[memory]\n size = \"256\"\n[smp-opts]\n cpus = \"2\"\n\
                [drive \"d\"]\n file = \"/srv/a,b.img\"\n format = \"raw\"\n if = \"none\"\n\
                [device \"hd\"]\n driver = \"ide-hd\"\n drive = \"d\"\n serial = \"X\"\n\
                [name]\n guest = \"g\"\n[rtc]\n base = \"localtime\"\n[boot-opts]\n order = \"d\"\n\
                [netdev \"n\"]\n type = \"user\"\n[device]\n driver = \"e1000\"\n netdev = \"n\"\n\
                [global]\n driver = \"e1000\"\n property = \"rombar\"\n value = \"0\"\n";
    std::fs::write(&file, text).unwrap();
    let line = "-machine pc,hpet=off -m 256 -smp cpus=2 -drive id=d,file=/srv/a,,b.img,format=raw,if=none \
                -device ide-hd,id=hd,drive=d,serial=X -name g -rtc base=localtime -boot d -netdev user,id=n \
                -device e1000,netdev=n -global e1000.rombar=0";
    assert_eq!(plan(&format!("-readconfig {at}")).guest, plan(line).guest);
    assert_eq!(plan(&format!("-m 64 -readconfig {at} -m 128")).guest.memory_mib, 128, "in its place");
    std::fs::write(&file, "[device]\n driver = \"toaster\"\n").unwrap();
    assert!(refusal(&format!("-readconfig {at}")).contains("toaster"));
    std::fs::write(&file, "[fsdev \"f\"]\n fsdriver = \"local\"\n").unwrap();
    assert!(refusal(&format!("-readconfig {at}")).starts_with("not built yet: -fsdev"));
    std::fs::write(&file, "[drive]\n file = x\n").unwrap();
    assert_eq!(refusal(&format!("-readconfig {at}")), format!("-readconfig: {at}:2: parse error"));
    assert!(refusal(&format!("-readconfig {at}.none")).contains("No such file"));
}
