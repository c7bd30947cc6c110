use proptest::prelude::*;

use super::*;

/// A file, and what libxlu 4.17 has for `a` in it: nothing, a text, or a list.
type Row = (&'static [u8], Option<&'static str>, Option<&'static [&'static str]>);

/// Files that it takes.
const GOOD: &[Row] = &[
    (b"a=1\n", Some("1"), None),
    (b"a=1", Some("1"), None),
    (b"a='x\\101y'\n", Some("xy"), None),
    (b"a='x\\tn'\n", Some("x\tn"), None),
    (b"a=0x1f\n", Some("0x1f"), None),
    (b"a=12x\n", Some("12x"), None),
    (b"a=1;b=2\n", Some("1"), None),
    (b";;a=1;;\n", Some("1"), None),
    (b"a=[1,2,]\n", None, Some(&["1", "2"])),
    (b"a=[\n1\n,\n2\n]\n", None, Some(&["1", "2"])),
    (b"a='x'\na+='y'\n", Some("xy"), None),
    (b"a=['x']\na+=['y']\n", None, Some(&["x", "y"])),
    (b"a+='y'\n", Some("y"), None),
    (b"a='\xe9'\n", Some("\u{e9}"), None),
    (b"# \xe9\na=1\n", Some("1"), None),
    (b"a=\"it's\"\n", Some("it's"), None),
    (b"a=[]\n", None, Some(&[])),
    (b"a=[ # c\n1 # d\n]\n", None, Some(&["1"])),
    (b"a='\\012z'\n", Some("z"), None),
    (b"a='\\0123z'\n", Some("z"), None),
    (b"a=1;", Some("1"), None),
    (b"", None, None),
    (b"\n", None, None),
    (b"#", None, None),
    (b"a=['x']\n a += [ ]\n", None, Some(&["x"])),
    (b"a.b=1\n", None, None),
    (b"a=1\na=2\n", Some("2"), None),
    (b"a='x\\'y'\n", Some("x'y"), None),
    (b"a='\\a\\b\\f\\v\\r'\n", Some("\x07\x08\x0c\x0b\r"), None),
    (b"a=1a\n", Some("1a"), None),
    (b"a=0b\n", Some("0b"), None),
    (b"a=9fx\n", Some("9fx"), None),
    (b"a=1;b='\xe9'\n", Some("1"), None),
    (b"a=[1\n,2]\n", None, Some(&["1", "2"])),
    (b"a\t+=\t2\n", Some("2"), None),
    (b"a+=1\n", Some("1"), None),
    (b"a=1\na+=1\n", Some("11"), None),
    (b"##\n", None, None),
    (b"# \n", None, None),
    (b"a=1#x\n", Some("1"), None),
    (b"a=1 #\n", Some("1"), None),
    (b"a='x'#\n", Some("x"), None),
    (b"a=''\n", Some(""), None),
    (b"a=\"\"", Some(""), None),
    (b"a=['']\n", None, Some(&[""])),
    (b"a='x'\na=['y']\n", None, Some(&["y"])),
    (b"\ta=1\n", Some("1"), None),
    (b"a=1\n  \n", Some("1"), None),
    (b"a='\x01'\n", Some("\x01"), None),
    (b"a=[1,\n#c\n2]\n", None, Some(&["1", "2"])),
    (b"a=1\n#", Some("1"), None),
    (b"a=1#", Some("1"), None),
    (b" ", None, None),
];

/// Files that it refuses.
const BAD: &[&[u8]] = &[
    b"a=1 # c",
    b"a=1\n# c",
    b"a='x\\x41y'\n",
    b"a='x\\e'\n",
    b"A=1\n",
    b"_a=1\n",
    b"a=-1\n",
    b"a=0x1F\n",
    b"a=[1,,2]\n",
    b"a=\n1\n",
    b"a='x'\na+=['y']\n",
    b"a='x\ny'\n",
    b"a='x\\\ny'\n",
    b"a=1\r\n",
    b"\r\na=1\n",
    b"a = 1 b = 2\n",
    b"a==1\n",
    b"a\n",
    b"a='\\0'\n",
    b"a='\\12'\n",
    b"a=\x0c1\n",
    b"a=['x' 'y']\n",
    b"a=[,]\n",
    b"\xef\xbb\xbfa=1\n",
    b"a=[;]\n",
    b"import os\n",
    b"a=xyz\n",
    b"a=None\n",
    b"a='1' '2'\n",
    b"a='\\8'\n",
    b"a=1\n+=2\n",
    b"a + = 2\n",
    b"a=1\nb\n",
    b"a=[1;2]\n",
    b"a=1\n\x0b\n",
    b"a='\\x'\n",
    b"#c",
    b"a=1\n# ",
];

/// The last value of `a`.
fn a(file: &[u8]) -> Option<Value> {
    let entries = parse(file).unwrap_or_else(|error| panic!("{}: {error}", file.escape_ascii()));
    entries.into_iter().rev().find(|entry| entry.key == "a").map(|entry| entry.value)
}

#[test]
fn what_libxlu_takes_is_taken() {
    for (file, text, list) in GOOD {
        let texts = |list: &&[&str]| list.iter().map(|text| Value::Text((*text).into())).collect();
        let wanted = text.map(|text| Value::Text(text.into())).or(list.as_ref().map(texts).map(Value::List));
        assert_eq!(a(file), wanted, "{}", file.escape_ascii());
    }
    assert_eq!(
        a(b"a=[[1,2],[3]]\n").map(|value| matches!(value, Value::List(lists) if lists.len() == 2)),
        Some(true)
    );
}

#[test]
fn what_libxlu_refuses_is_refused() {
    for file in BAD {
        assert!(parse(file).is_err(), "{}", file.escape_ascii());
    }
    // Here libxlu ends its program.
    assert!(parse(b"a='\0b'\n").is_err());
}

#[test]
fn a_usual_file_is_read() {
    let text = "# a guest\nname = \"win\" ; vcpus=2\nmemory = 0x400\ndisk = [ 'a,raw,hda,rw', # first\n  \"b\",\n]\n";
    let entries = parse(text).unwrap();
    assert_eq!(entries.len(), 4);
    let text_value = |text: &str| Value::Text(text.into());
    let vcpus = Entry { key: "vcpus".into(), value: text_value("2"), added: false, line: 2, bytes: 25..32 };
    assert_eq!(entries[1], vcpus);
    assert_eq!(&text[25..32], "vcpus=2");
    assert_eq!(entries[2].value, text_value("0x400"));
    let list = Value::List(vec![text_value("a,raw,hda,rw"), text_value("b")]);
    assert_eq!((&entries[3].key, &entries[3].value, entries[3].line), (&"disk".to_owned(), &list, 4));
}

#[test]
fn errors_say_where_and_what() {
    let error = |text: &str| parse(text).unwrap_err().to_string();
    assert_eq!(error("name \"a\""), "line 1, column 6: expected '=', found '\\\"'");
    assert_eq!(
        error("\nname = 'a"),
        "line 2, column 10: expected the closing quote, found the end of the file"
    );
    assert_eq!(error("a = 12g"), "line 1, column 7: expected the end of the line or ';', found 'g'");
    assert_eq!(error("a = [1 2]"), "line 1, column 8: expected ',' or ']', found '2'");
    assert_eq!(error("a = 1 b = 2"), "line 1, column 7: expected the end of the line or ';', found 'b'");
    assert!(error("a = 1\r\n").contains("Windows line ends"));
    assert!(error("a=1\n\nb='x'\nb+=['y']").starts_with("line 4, column 1: expected the same kind"));
    assert!(error(&format!("a = {}", "[".repeat(100_000))).contains("nested"));
}

/// A hostile file of additions takes no more memory than its own length.
#[test]
fn many_additions_are_one_text() {
    let file = "a+='0123456789'\n".repeat(50_000);
    let entries = parse(&file).unwrap();
    let bytes: usize = entries
        .iter()
        .map(|entry| matches!(&entry.value, Value::Text(t) if !t.is_empty()))
        .map(usize::from)
        .sum();
    assert_eq!(bytes, 1);
    assert_eq!(a(file.as_bytes()), Some(Value::Text("0123456789".repeat(50_000).as_str().into())));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".*") {
        let _ = parse(&text);
    }
    #[test]
    fn no_near_file_makes_it_panic(text in "([a-z]{1,3} ?\\+?= ?['\"\\[\\]0-9,;#\n\\\\x-]{0,9})*") {
        let _ = parse(&text);
    }
}
