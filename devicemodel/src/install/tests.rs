use super::*;

struct Place {
    root: tempfile::TempDir,
    program: PathBuf,
}

impl Place {
    fn new() -> Place {
        let root = tempfile::tempdir().unwrap();
        let program = root.path().join("built");
        fs::write(&program, "program").unwrap();
        Place { root, program }
    }

    fn file(&self, path: &str, text: &str) -> PathBuf {
        let path = inside(self.root.path(), path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn wish(&self) -> Wish {
        Wish { root: Some(self.root.path().to_owned()), ..Wish::default() }
    }

    fn todo(&self, wish: &Wish) -> Todo {
        Todo::new(wish, &self.program).unwrap()
    }
}

#[test]
fn one_guest_is_pointed_at_us_and_back() {
    let place = Place::new();
    let text = "name = \"g\"\nvga = \"stdvga\"\ndevice_model_override=\"/old\"\nserial='pty'";
    let guest = place.file("/etc/xen/g.cfg", text);
    fs::set_permissions(&guest, fs::Permissions::from_mode(0o600)).unwrap();
    let wish = Wish { guests: vec![guest.clone()], ..place.wish() };
    let todo = place.todo(&wish);
    assert_eq!(fs::read_to_string(&guest).unwrap(), text, "nothing is done before --apply");
    assert!(todo.to_string().contains("device_model_override = \"/usr/libexec/ailurus\""), "{todo}");
    todo.apply().unwrap();
    let expected =
        "name = \"g\"\nvga = \"stdvga\"\nserial='pty'\ndevice_model_override = \"/usr/libexec/ailurus\"\n";
    assert_eq!(fs::read_to_string(&guest).unwrap(), expected);
    assert_eq!(fs::metadata(&guest).unwrap().permissions().mode() & 0o777, 0o600);
    let program = inside(place.root.path(), PROGRAM);
    assert_eq!(fs::read_to_string(&program).unwrap(), "program");
    assert_eq!(fs::metadata(&program).unwrap().permissions().mode() & 0o777, 0o755);
    assert!(place.todo(&wish).steps.iter().all(|step| matches!(step, Step::Copy { .. })), "the rest is done");

    place.todo(&Wish { undo: true, ..wish }).apply().unwrap();
    assert!(!fs::read_to_string(&guest).unwrap().contains("override"));
    assert!(!exists(&program));
}

/// Settings may share a line, and a file need not be UTF-8.
#[test]
fn nothing_but_the_device_model_is_taken_out() {
    let ours = "device_model_override = \"/usr/libexec/ailurus\"\n";
    for (text, rest) in [
        (&b"device_model_override=\"/o\" ; memory=64\nname=\"x\"\n"[..], &b"memory=64\nname=\"x\"\n"[..]),
        (b"type=\"hvm\"; device_model_override=\"/o\"; memory=64\n", b"type=\"hvm\"; memory=64\n"),
        (b"memory=64; device_model_override='/o'\n", b"memory=64; \n"),
        (b"a=1 ; \tdevice_model_override='/o' # ours\n", b"a=1 ; \t # ours\n"),
        (b"  device_model_override = '/a'\n\ndevice_model_override += '/b'", b"\n"),
        (
            b"# device_model_override = 'x'\nname = 'device_model_override=1'\n",
            b"# device_model_override = 'x'\nname = 'device_model_override=1'\n",
        ),
        (b"# f\xfcr\nname='caf\xe9'\n", b"# f\xfcr\nname='caf\xe9'\n"),
        (
            b"disk=[ 'a,raw,hda', # first\n 'b,raw,hdb' ]; device_model_override='/o'; vcpus=2\n",
            b"disk=[ 'a,raw,hda', # first\n 'b,raw,hdb' ]; vcpus=2\n",
        ),
    ] {
        let (new, _) = guest::point_at_us(text).unwrap();
        assert_eq!(
            new.escape_ascii().to_string(),
            [rest, ours.as_bytes()].concat().escape_ascii().to_string()
        );
        assert!(guest::is_ours(&new));
        assert_eq!(guest::point_at_us(&new).unwrap().0, new, "a second time changes nothing");
        assert_eq!(guest::point_elsewhere(&new).unwrap(), rest);
    }
}

/// Who leaves `--root` out, or has it lead elsewhere, does not change a system that was not meant.
#[test]
fn only_the_system_that_is_meant_is_changed() {
    let place = Place::new();
    assert!(!is_xen_host(place.root.path()));
    place.file("/usr/sbin/xl", "");
    assert!(is_xen_host(place.root.path()));
    let empty = Wish { root: Some(PathBuf::new()), ..Wish::default() };
    assert!(matches!(Todo::new(&empty, &place.program), Err(InstallError::EmptyRoot)));
    if !is_xen_host(Path::new("/")) {
        for wish in [Wish::default(), Wish { undo: true, ..Wish::default() }] {
            assert!(matches!(Todo::new(&wish, &place.program), Err(InstallError::NoHost)));
        }
    }
    let elsewhere = tempfile::tempdir().unwrap();
    symlink(elsewhere.path(), inside(place.root.path(), "/usr/libexec")).unwrap();
    let error = Todo::new(&place.wish(), &place.program).unwrap_err();
    assert!(matches!(error, InstallError::Outside { .. }), "{error}");
}

#[test]
fn the_program_stays_while_a_guest_needs_it() {
    let place = Place::new();
    let named = "name='g'\ndevice_model_override='/usr/libexec/ailurus'\n";
    let (one, other) = (place.file("/etc/xen/one.cfg", named), place.file("/etc/xen/other.cfg", named));
    place.todo(&place.wish()).apply().unwrap();
    let undo = Wish { undo: true, guests: vec![one], ..place.wish() };
    let todo = place.todo(&undo);
    assert!(todo.to_string().contains("other.cfg"), "{todo}");
    todo.apply().unwrap();
    assert!(exists(&inside(place.root.path(), PROGRAM)));
    place.todo(&Wish { undo: true, guests: vec![other], ..place.wish() }).apply().unwrap();
    assert!(!exists(&inside(place.root.path(), PROGRAM)));
}

#[test]
fn all_guests_come_by_the_toolstacks_own_path() {
    let place = Place::new();
    let all = Wish { all: true, ..place.wish() };
    assert!(matches!(Todo::new(&all, &place.program), Err(InstallError::NoStock(_))));
    let stock = place.file("/usr/libexec/xen-qemu-system-i386", "qemu");
    place.todo(&all).apply().unwrap();
    assert_eq!(fs::read_link(&stock).unwrap(), Path::new(PROGRAM));
    // A second time changes nothing more.
    place.todo(&all).apply().unwrap();
    assert_eq!(fs::read_to_string(kept(place.root.path(), STOCK[0])).unwrap(), "qemu");
    place.todo(&Wish { undo: true, ..place.wish() }).apply().unwrap();
    assert_eq!(fs::read_to_string(&stock).unwrap(), "qemu");
}

#[test]
fn what_a_guest_cannot_have_yet_is_said() {
    let hints = |text: &str| guest::point_at_us(text.as_bytes()).unwrap().1;
    assert_eq!(hints("vif=['type=vif,bridge=xenbr0']\n"), Vec::<String>::new());
    let expected = ["the network card pcnet is not built yet: write type=vif into vif=[...]"];
    assert_eq!(hints("vif=['bridge=xenbr0,model=pcnet']"), expected);
    assert_eq!(hints("vif=['bridge=xenbr0']"), Vec::<String>::new(), "rtl8139 and cirrus are what xl gives");
    let qxl = "vga=\"qxl\" is not built yet: write vga=\"stdvga\" or vga=\"none\"";
    assert_eq!(hints("vga='qxl'\nstdvga=1"), [qxl]);
    assert_eq!(hints("stdvga=1"), Vec::<String>::new());
    let traditional = hints("vga='none'\ndevice_model_version='qemu-xen-traditional'");
    assert!(traditional[0].contains("qemu-xen-traditional"), "{traditional:?}");
    assert_eq!(hints("vga='none'\ndevice_model_version='qemu-xen'"), Vec::<String>::new());
    assert_eq!(hints("vga='none'\nusb=0\nusbdevice=['tablet']"), Vec::<String>::new());
    for version in 1..=3 {
        assert_eq!(hints(&format!("vga='none'\nusbversion={version}")), Vec::<String>::new());
    }
    assert!(guest::point_at_us(b"name = g").is_err());
}

#[test]
fn a_file_that_is_missing_is_named() {
    let place = Place::new();
    let wish = Wish { guests: vec!["/nonexistent.cfg".into()], ..place.wish() };
    assert!(Todo::new(&wish, &place.program).unwrap_err().to_string().starts_with("/nonexistent.cfg: "));
}

/// The manual page names every subcommand that `--help` shows, and every option of it that a person gives.
#[test]
fn the_manual_page_is_complete() {
    use clap::CommandFactory;
    let escaped = |name: &str| name.replace('-', "\\-");
    for command in crate::cli::Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
        let name = escaped(command.get_name());
        assert!(MANUAL_TEXT.contains(&format!("\n.B {name}\n")), "{name}");
        let shown = command.get_arguments().filter(|option| !option.is_hide_set());
        for option in shown.filter_map(|option| option.get_long()) {
            let option = escaped(&format!("--{option}"));
            assert!(MANUAL_TEXT.contains(&option), "{name} {option}");
        }
    }
}
