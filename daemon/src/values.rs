//! Enums whose values have names outside the program: label values, keys in JSON.
//!
//! Such an enum has `ALL` and `name`, as those of the BPF contract do. Lists of names follow from it, and what is counted by value
//! lies in an array that the value indexes, so nothing depends on a name's position.

/// Defines an enum with a name per value, which is also how it is serialized.
macro_rules! values {
    ($(#[$about:meta])* pub enum $Enum:ident { $($(#[$about_value:meta])* $Value:ident = $name:literal,)+ }) => {
        ::schedscope_ebpf::values! {
            $(#[$about])*
            pub enum $Enum { $($(#[$about_value])* $Value = $name,)+ }
        }

        impl serde::Serialize for $Enum {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }

        impl<'de> serde::Deserialize<'de> for $Enum {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let name = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
                let named = $Enum::ALL.into_iter().find(|value| value.name() == name);
                named.ok_or_else(|| serde::de::Error::custom(format_args!("there is no {name:?}")))
            }
        }
    };
}
pub(crate) use values;

/// The names of all values of an enum that has `ALL` and a `const` `name`, in order; a constant.
macro_rules! names {
    ($Enum:ty) => {
        &const {
            let mut names = [""; <$Enum>::ALL.len()];
            let mut index = 0;
            while index < names.len() {
                names[index] = <$Enum>::ALL[index].name();
                index += 1;
            }
            names
        }
    };
}
pub(crate) use names;
