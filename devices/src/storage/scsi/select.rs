//! MODE SELECT (SPC-4, 6.9).

use super::spec::{Sense, op, sense};
use super::{Cdb, Page};

/// Checks a list of parameters against the pages that there are, and gives what they are to be: code and values.
pub(super) fn mode_select(cdb: &Cdb, list: &[u8], pages: &[Page]) -> Result<Vec<(u8, Vec<u8>)>, Sense> {
    // Pages as the standard has them, and none to be saved.
    if cdb.byte(1) & 0x11 != 0x10 {
        return Err(sense::FIELD);
    }
    if list.is_empty() {
        return Ok(Vec::new());
    }
    let (head, block) = match cdb.op() {
        op::MODE_SELECT_6 => (4, list.get(3).map(|&len| usize::from(len))),
        _ => (8, list.get(6..8).map(|len| usize::from(u16::from_be_bytes([len[0], len[1]])))),
    };
    let block = block.ok_or(sense::LIST_LENGTH)?;
    if block != 0 && block != 8 {
        return Err(sense::PARAMETER);
    }
    let mut rest = list.get(head + block..).ok_or(sense::LIST_LENGTH)?;
    let mut wanted = Vec::new();
    while let [first, ..] = *rest {
        let code = first & 0x3f;
        let page = pages.iter().find(|page| page.code == code);
        let page = page.filter(|_| first & 0x40 == 0).ok_or(sense::PARAMETER)?;
        let (values, next) = values(rest, page)?;
        wanted.push((code, values));
        rest = next;
    }
    Ok(wanted)
}

/// The values of a page at the front of a list, and what follows.
fn values<'a>(list: &'a [u8], page: &Page) -> Result<(Vec<u8>, &'a [u8]), Sense> {
    let len = page.values.len();
    if usize::from(*list.get(1).ok_or(sense::LIST_LENGTH)?) != len {
        return Err(sense::PARAMETER);
    }
    let values = list.get(2..2 + len).ok_or(sense::LIST_LENGTH)?;
    let changeable = page.changeable.iter().chain(std::iter::repeat(&0));
    let keeps =
        page.values.iter().zip(values).zip(changeable).all(|((now, new), may)| (now ^ new) & !may == 0);
    if keeps { Ok((values.to_vec(), &list[2 + len..])) } else { Err(sense::PARAMETER) }
}
