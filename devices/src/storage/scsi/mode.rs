//! MODE SENSE of either length (SPC-4, 6.11, 7.5).

use super::Cdb;
use super::spec::{Sense, op, sense};

/// All pages.
const ALL: u8 = 0x3f;

/// What the parameters begin with.
pub struct Header {
    /// Medium type.
    pub medium: u8,
    /// Device-specific parameter.
    pub device: u8,
    /// Block descriptor, if there is one.
    pub block: Option<[u8; 8]>,
}

/// A page.
pub struct Page {
    /// Its code.
    pub code: u8,
    /// Its values, from the third byte on.
    pub values: Vec<u8>,
    /// Which bits of these can be changed, as far as any can.
    pub changeable: Vec<u8>,
}

impl Page {
    /// A page in which nothing can be changed.
    pub fn fixed(code: u8, values: Vec<u8>) -> Page {
        Page { code, values, changeable: Vec::new() }
    }

    fn bytes(&self, changeable: bool) -> Vec<u8> {
        let mut page = vec![self.code, self.values.len() as u8];
        match changeable {
            false => page.extend(&self.values),
            true => page.extend(self.changeable.iter().chain(std::iter::repeat(&0)).take(self.values.len())),
        }
        page
    }
}

/// The answer: current values, which are the default ones too, or what can be changed. None are saved.
pub fn mode_sense(cdb: &Cdb, header: &Header, pages: &[Page]) -> Result<Vec<u8>, Sense> {
    let (control, wanted) = (cdb.byte(2) >> 6, cdb.byte(2) & 0x3f);
    if control == 3 {
        return Err(sense::SAVING);
    }
    let of_page = |page: &&Page| wanted == ALL || wanted == page.code;
    let body: Vec<u8> = pages.iter().filter(of_page).flat_map(|page| page.bytes(control == 1)).collect();
    if body.is_empty() {
        return Err(sense::FIELD);
    }
    let disabled = cdb.byte(1) & 8 != 0;
    let block = header.block.filter(|_| !disabled).map_or_else(Vec::new, |block| block.to_vec());
    let len = block.len() + body.len();
    let (mut answer, most) = if cdb.op() == op::MODE_SENSE_6 {
        (vec![len as u8 + 3, header.medium, header.device, block.len() as u8], usize::from(cdb.byte(4)))
    } else {
        let [high, low] = (len as u16 + 6).to_be_bytes();
        let head = vec![high, low, header.medium, header.device, 0, 0, 0, block.len() as u8];
        (head, usize::from(cdb.be16(7)))
    };
    answer.extend(block);
    answer.extend(body);
    answer.truncate(most);
    Ok(answer)
}
