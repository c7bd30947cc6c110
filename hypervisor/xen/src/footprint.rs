//! What the process keeps in memory: a host runs one for each guest.

use std::fs;
use std::io;

/// Gives back what only the start has needed: code that ran once, and freed heap. Code that is called again
/// comes back from the page cache, a page at a time. Reads `/proc/self/maps`.
pub fn shrink() -> io::Result<()> {
    for (start, len) in code(&fs::read_to_string("/proc/self/maps")?) {
        // SAFETY: the pages are of private mappings of files that are executable and not writable: nothing in
        // them is our own, the next access reads the file again.
        if unsafe { libc::madvise(start as *mut libc::c_void, len, libc::MADV_DONTNEED) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes the allocator's own locks and changes nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
    Ok(())
}

/// Addresses and lengths of the code of files, of lines such as
/// `55ec76c40000-55ec77426000 r-xp 00385000 fe:00 1209    /usr/libexec/ailurus`.
fn code(maps: &str) -> impl Iterator<Item = (usize, usize)> {
    maps.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let (access, path) = (words.next()?, words.nth(3)?);
        let [start, end] = [start, end].map(|at| usize::from_str_radix(at, 16).ok());
        let (start, len) = (start?, end?.checked_sub(start?)?);
        (access == "r-xp" && path.starts_with('/')).then_some((start, len))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_of_files_is_given_back() {
        let maps = "\
55ec768bb000-55ec76c40000 r--p 00000000 fe:00 1209                       /usr/libexec/ailurus
55ec76c40000-55ec77426000 r-xp 00385000 fe:00 1209                       /usr/libexec/ai lurus
55ec77426000-55ec774a2000 rw-p 00b6a000 fe:00 1209                       /usr/libexec/ailurus
7f24e8000000-7f24e80f3000 rwxp 00000000 00:00 0
7fff52796000-7fff52798000 r-xp 00000000 00:00 0                          [vdso]
nonsense
";
        assert_eq!(code(maps).collect::<Vec<_>>(), [(0x55ec_76c4_0000, 0x7e_6000)]);
    }

    #[test]
    fn the_process_goes_on_with_less() {
        let resident = || {
            let statm = fs::read_to_string("/proc/self/statm").unwrap();
            // Pages resident, and those of them that are files'.
            statm.split(' ').nth(2).unwrap().parse::<u64>().unwrap()
        };
        // A walk through tables and code that is not needed any more afterwards.
        let before = resident();
        shrink().unwrap();
        let after = resident();
        assert!(after < before, "{before} pages of files were resident, {after} are now");
    }
}
