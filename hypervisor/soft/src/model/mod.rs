//! Models of processors: what a guest is told that it runs on.
//!
//! A model is a set of features with a name around it; the leaves of CPUID follow from it (`system::cpuid`), and so
//! does which instructions exist (`lower`), which bits of control registers can be set and what XCR0 may hold.

pub mod features;
mod table;
#[cfg(test)]
mod tests;

pub use features::{Feature, Features};
use serde::{Deserialize, Serialize};
pub use table::{DEFAULT, MODELS, Named, SUPPORTED, Vendor};

/// Longest brand string.
const BRAND: usize = 47;

/// What a feature needs: without it the feature is left out, as software relies on both (SDM vol. 1, 13.2 and 14.3).
const NEEDS: &[(Feature, Feature)] = &[
    (Feature::XSAVEOPT, Feature::XSAVE),
    (Feature::XSAVEC, Feature::XSAVE),
    (Feature::XGETBV1, Feature::XSAVE),
    (Feature::AVX, Feature::XSAVE),
    (Feature::PKU, Feature::XSAVE),
    (Feature::FMA, Feature::AVX),
    (Feature::F16C, Feature::AVX),
    (Feature::AVX2, Feature::AVX),
];

/// The processor of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuModel {
    /// The name in the table it began with.
    pub name: String,
    /// Vendor.
    pub vendor: Vendor,
    /// EAX of leaf 1.
    pub signature: u32,
    /// Highest leaf.
    pub level: u32,
    /// What leaves 0x8000_0002 to 4 spell.
    pub brand: String,
    /// What is announced; all of it is built.
    pub features: Features,
}

impl Default for CpuModel {
    fn default() -> CpuModel {
        CpuModel::of(&MODELS[0])
    }
}

/// Family, model and stepping as leaf 1 has them (SDM vol. 2, CPUID).
fn signature((family, model, stepping): (u32, u32, u32)) -> u32 {
    let (base, extended) = if family > 15 { (15, family - 15) } else { (family, 0) };
    extended << 20 | (model >> 4 & 15) << 16 | base << 8 | (model & 15) << 4 | stepping & 15
}

/// Takes out what needs a feature that is not there; gives what was taken.
fn settle(features: &mut Features) -> Features {
    let before = *features;
    for (feature, needed) in NEEDS {
        if !features.has(*needed) {
            features.set(*feature, false);
        }
    }
    before.without(*features)
}

impl CpuModel {
    /// A row of the table, without what is not built.
    pub fn of(row: &Named) -> CpuModel {
        let mut features = row.features & SUPPORTED;
        settle(&mut features);
        CpuModel {
            name: row.name.into(),
            vendor: row.vendor,
            signature: signature(row.signature),
            level: row.level,
            brand: row.brand.into(),
            features,
        }
    }

    /// The default with everything that is built.
    pub fn of_all() -> CpuModel {
        CpuModel { features: SUPPORTED, ..CpuModel::default() }
    }

    /// Family, model and stepping.
    pub fn family_model_stepping(&self) -> (u32, u32, u32) {
        let s = self.signature;
        let family = (s >> 8 & 15) + (s >> 20 & 0xff);
        (family, s >> 12 & 0xf0 | s >> 4 & 15, s & 15)
    }

    /// What `-cpu` says: `NAME[,+feature][,-feature][,feature=on|off][,key=value]`. Gives the model and what must be
    /// warned of, or says what is wrong.
    pub fn parse(text: &str) -> Result<(CpuModel, Vec<String>), String> {
        let mut words = text.split(',');
        let name = words.next().unwrap_or_default();
        let row = MODELS.iter().find(|row| row.name == name);
        let (mut model, asked) = match row {
            Some(row) => (CpuModel::of(row), row.features),
            None if name == "host" => {
                let model = host();
                let features = model.features;
                (model, features)
            }
            None => return Err(format!("unable to find CPU model '{name}'")),
        };
        let mut request = Request {
            features: asked,
            plus: Features::NONE,
            minus: Features::NONE,
            enforce: false,
            check: true,
        };
        for word in words {
            request.word(&mut model, word)?;
        }
        let warnings = request.settle(&mut model)?;
        Ok((model, warnings))
    }
}

/// What the words behind a model's name ask for.
struct Request {
    features: Features,
    plus: Features,
    minus: Features,
    enforce: bool,
    check: bool,
}

impl Request {
    fn word(&mut self, model: &mut CpuModel, word: &str) -> Result<(), String> {
        let feature =
            |name: &str| Feature::named(name).ok_or_else(|| format!("the CPU has no property '{name}'"));
        if let Some(name) = word.strip_prefix('+') {
            self.plus.set(feature(name)?, true);
            return Ok(());
        }
        if let Some(name) = word.strip_prefix('-') {
            self.minus.set(feature(name)?, true);
            return Ok(());
        }
        let (key, value) = word.split_once('=').unwrap_or((word, "on"));
        let on = match value {
            "on" | "yes" | "true" | "y" => Some(true),
            "off" | "no" | "false" | "n" => Some(false),
            _ => None,
        };
        let switch = || on.ok_or_else(|| format!("CPU property '{key}' takes on or off, not '{value}'"));
        let number = |most: u32| {
            let digits =
                value.strip_prefix("0x").map_or(value.parse().ok(), |hex| u32::from_str_radix(hex, 16).ok());
            digits
                .filter(|n| *n <= most)
                .ok_or_else(|| format!("CPU property '{key}' takes a number up to {most}, not '{value}'"))
        };
        let (family, number_of_model, stepping) = model.family_model_stepping();
        match key {
            "check" => self.check = switch()?,
            "enforce" => self.enforce = switch()?,
            "family" => model.signature = signature((number(270)?, number_of_model, stepping)),
            "model" => model.signature = signature((family, number(255)?, stepping)),
            "stepping" => model.signature = signature((family, number_of_model, number(15)?)),
            "vendor" => {
                let known = [Vendor::Intel, Vendor::Amd].into_iter().find(|vendor| vendor.text() == value);
                model.vendor = known.ok_or_else(|| {
                    format!("CPU property 'vendor' is GenuineIntel or AuthenticAMD, not '{value}'")
                })?;
            }
            "model-id" | "model_id" if value.len() <= BRAND && value.is_ascii() => model.brand = value.into(),
            "model-id" | "model_id" => {
                return Err(format!("CPU property 'model-id' has at most {BRAND} letters"));
            }
            _ => self.features.set(feature(key)?, switch()?),
        }
        Ok(())
    }

    /// Decides what is announced; warnings, or with `enforce` an error.
    fn settle(self, model: &mut CpuModel) -> Result<Vec<String>, String> {
        let wanted = (self.features | self.plus).without(self.minus);
        let missing = wanted.without(SUPPORTED);
        model.features = wanted & SUPPORTED;
        let alone = settle(&mut model.features);
        let mut warnings: Vec<String> = missing
            .iter()
            .map(|f| format!("the soft CPU doesn't support requested feature: {}", f.place()))
            .collect();
        let asked_for = alone & (self.plus | self.features);
        warnings.extend(
            asked_for.iter().map(|f| format!("this feature depends on others that are off: {}", f.place())),
        );
        if self.enforce && !warnings.is_empty() {
            return Err(format!("{} (and enforce is on)", warnings.join("; ")));
        }
        if !self.check {
            warnings.clear();
        }
        Ok(warnings)
    }
}

/// The host's own processor by name, vendor and numbers, with what both it and we have.
#[cfg(target_arch = "x86_64")]
fn host() -> CpuModel {
    use std::arch::x86_64::__cpuid_count;
    let leaf = |leaf: u32, sub: u32| {
        let r = __cpuid_count(leaf, sub);
        [r.eax, r.ebx, r.ecx, r.edx]
    };
    let (basic, extended) = (leaf(0, 0), leaf(0x8000_0000, 0)[0]);
    let vendor = if basic[1] == u32::from_le_bytes(*b"Genu") { Vendor::Intel } else { Vendor::Amd };
    let mut brand: Vec<u8> = Vec::new();
    for n in (0x8000_0002..=0x8000_0004).filter(|n| *n <= extended) {
        brand.extend(leaf(n, 0).iter().flat_map(|r| r.to_le_bytes()).filter(|b| matches!(b, 0x20..0x7f)));
    }
    let brand = String::from_utf8_lossy(&brand).trim().to_owned();
    // What the host's hypervisor or our own design brings is there on any host.
    let own = [
        Feature::HYPERVISOR,
        Feature::X2APIC,
        Feature::TSC_DEADLINE,
        Feature::ARAT,
        Feature::INVTSC,
        Feature::APIC,
    ];
    let features = SUPPORTED & (features::of_cpuid(basic[0], extended, leaf) | Features::of(&own));
    CpuModel {
        name: "host".into(),
        vendor,
        signature: leaf(1, 0)[0] & 0x0fff_3fff,
        level: 0xd,
        brand,
        features,
    }
}

/// There is no host to be like.
#[cfg(not(target_arch = "x86_64"))]
fn host() -> CpuModel {
    CpuModel {
        name: "host".into(),
        ..MODELS.iter().find(|row| row.name == "max").map(CpuModel::of).unwrap_or_default()
    }
}

/// The saved form of a model.
#[derive(Serialize, Deserialize)]
pub(crate) struct SavedModel {
    name: String,
    vendor: String,
    signature: u32,
    level: u32,
    brand: String,
    features: Vec<String>,
}

impl From<&CpuModel> for SavedModel {
    fn from(model: &CpuModel) -> SavedModel {
        let CpuModel { name, vendor, signature, level, brand, features } = model.clone();
        SavedModel {
            name,
            vendor: vendor.text().into(),
            signature,
            level,
            brand,
            features: features.iter().map(|f| f.name().into()).collect(),
        }
    }
}

impl SavedModel {
    /// The model, if all of it can be had here.
    pub(crate) fn model(self) -> Result<CpuModel, String> {
        let SavedModel { name, vendor, signature, level, brand, features: names } = self;
        let vendors = [Vendor::Intel, Vendor::Amd];
        let vendor = vendors.into_iter().find(|v| v.text() == vendor).ok_or(format!("vendor {vendor:?}"))?;
        let mut features = Features::NONE;
        for name in &names {
            let feature = Feature::named(name).filter(|f| SUPPORTED.has(*f));
            features.set(feature.ok_or(format!("this build has no CPU feature {name:?}"))?, true);
        }
        let good = brand.len() <= BRAND
            && brand.is_ascii()
            && (1..=0xd).contains(&level)
            && settle(&mut features).is_empty();
        if !good {
            return Err("a CPU model that there cannot be".into());
        }
        Ok(CpuModel { name, vendor, signature, level, brand, features })
    }
}
