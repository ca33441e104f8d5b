//! Enums whose values have names outside the program: label values and keys in JSON.

/// Defines such an enum with `ALL` and `name`. The discriminant of a value is its place in `ALL`, so what is counted by value lies in an
/// array that the value indexes.
#[macro_export]
macro_rules! values {
    ($(#[$about:meta])* pub enum $Enum:ident { $($(#[$about_value:meta])* $Value:ident = $name:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $Enum { $($(#[$about_value])* $Value,)+ }

        impl $Enum {
            /// Every value, in order.
            pub const ALL: [$Enum; [$($name),+].len()] = [$($Enum::$Value),+];

            /// How it is written outside the program.
            pub const fn name(self) -> &'static str {
                match self { $($Enum::$Value => $name),+ }
            }
        }
    };
}
