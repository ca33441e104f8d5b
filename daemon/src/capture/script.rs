//! Which program an interpreter runs, by its arguments. Pure.
//!
//! What follows from them is what the process says: it can be started with any arguments, and can change them later.

/// Characters of a program's name that are kept. More than a workload's name has room for.
pub(crate) const SCRIPT_CHARS: usize = 255;

/// How the command line of an interpreter is read. Options that are not listed take no value, or have it attached (`--key=value`).
struct Family {
    /// Its executable; a version may follow.
    executable: &'static str,
    /// Letters after which there is no program: code on the command line, standard input.
    code: &'static str,
    /// Letters with a value: the rest of the argument, or the next one if nothing is left.
    valued: &'static str,
    /// Letters that the rest of the argument belongs to, if there is any.
    attached: &'static str,
    /// Letters whose value is the program.
    program: &'static str,
    words: Words,
    dialect: Dialect,
}

/// Options that are words: with two dashes or, in [`Dialect::Java`], one.
struct Words {
    code: &'static [&'static str],
    valued: &'static [&'static str],
    program: &'static [&'static str],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Common,
    /// Values are never attached, `+o` is an option, and `-` ends the options.
    Shell,
    /// All options are words, and `@file` holds arguments that are not seen.
    Java,
}

const NO_WORDS: Words = Words { code: &[], valued: &[], program: &[] };
const SHELL: Family = Family {
    executable: "sh",
    code: "cs",
    valued: "oO",
    attached: "",
    program: "",
    words: Words { code: &[], valued: &["rcfile", "init-file"], program: &[] },
    dialect: Dialect::Shell,
};
const PYTHON: Family = Family {
    executable: "python",
    code: "chV?",
    valued: "WX",
    attached: "",
    program: "m",
    words: Words {
        code: &["help", "help-all", "help-env", "help-xoptions", "version"],
        valued: &["check-hash-based-pycs"],
        program: &[],
    },
    dialect: Dialect::Common,
};
const NODE: Family = Family {
    executable: "node",
    code: "ephiv",
    valued: "rC",
    attached: "",
    program: "",
    words: Words {
        code: &["eval", "print", "interactive", "help", "version", "run"],
        valued: &[
            "conditions",
            "cpu-prof-dir",
            "cpu-prof-interval",
            "cpu-prof-name",
            "diagnostic-dir",
            "disable-warning",
            "dns-result-order",
            "env-file",
            "env-file-if-exists",
            "experimental-loader",
            "heap-prof-dir",
            "icu-data-dir",
            "import",
            "input-type",
            "inspect-port",
            "loader",
            "localstorage-file",
            "max-http-header-size",
            "openssl-config",
            "redirect-warnings",
            "report-dir",
            "report-directory",
            "report-filename",
            "report-signal",
            "require",
            "secure-heap",
            "test-name-pattern",
            "title",
            "tls-cipher-list",
            "tls-keylog",
            "trace-event-categories",
            "trace-require-module",
            "unhandled-rejections",
            "v8-pool-size",
            "watch-path",
        ],
        program: &[],
    },
    dialect: Dialect::Common,
};
const FAMILIES: [Family; 14] = [
    PYTHON,
    Family { executable: "pypy", ..PYTHON },
    NODE,
    Family { executable: "nodejs", ..NODE },
    Family {
        executable: "java",
        code: "",
        valued: "",
        attached: "",
        program: "",
        words: Words {
            code: &["version", "showversion", "help", "h", "?", "X", "list-modules", "d", "describe-module"],
            valued: &[
                "add-exports",
                "add-modules",
                "add-opens",
                "add-reads",
                "class-path",
                "classpath",
                "cp",
                "enable-native-access",
                "limit-modules",
                "module-path",
                "p",
                "patch-module",
                "source",
                "upgrade-module-path",
            ],
            program: &["m", "module"],
        },
        dialect: Dialect::Java,
    },
    Family {
        executable: "ruby",
        code: "ehv",
        valued: "rICE",
        attached: "FKTWix",
        program: "",
        words: Words {
            code: &["help", "version", "copyright"],
            valued: &[
                "backtrace-limit",
                "disable",
                "dump",
                "enable",
                "encoding",
                "external-encoding",
                "internal-encoding",
                "parser",
            ],
            program: &[],
        },
        dialect: Dialect::Common,
    },
    Family {
        executable: "perl",
        code: "eEhv?",
        valued: "I",
        attached: "CDdFimMVx",
        program: "",
        words: Words { code: &["help", "version"], ..NO_WORDS },
        dialect: Dialect::Common,
    },
    Family {
        executable: "php",
        code: "rBREShivm",
        valued: "cdtzF",
        attached: "",
        program: "f",
        words: Words {
            code: &["run", "process-begin", "process-code", "process-end", "server", "help", "info", "version", "modules", "ini"],
            valued: &["php-ini", "define", "docroot", "zend-extension", "process-file"],
            program: &["file"],
        },
        dialect: Dialect::Common,
    },
    SHELL,
    Family { executable: "bash", ..SHELL },
    Family { executable: "dash", ..SHELL },
    Family { executable: "ash", ..SHELL },
    Family { executable: "ksh", ..SHELL },
    Family { executable: "zsh", ..SHELL },
];

/// Whether an executable of this name is an interpreter: `python3`, `python3.13t`, `ruby3.1`; not `python3-config`.
pub(crate) fn is_interpreter(executable: &str) -> bool {
    family(executable).is_some()
}

fn family(executable: &str) -> Option<&'static Family> {
    let is_version = |rest: &str| {
        let build = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        matches!(build, "" | "t" | "d" | "td" | "m" | "dm" | "-dbg")
    };
    FAMILIES.iter().find(|family| executable.strip_prefix(family.executable).is_some_and(is_version))
}

/// The program that an interpreter was started with, without its directory: a script, a module, a jar or a class. `None` if there is none,
/// as with code on the command line or on standard input. `arguments` end with a null byte each, as in `/proc/PID/cmdline`; one that does not
/// is not all there.
pub(crate) fn script(executable: &str, arguments: &[u8]) -> Option<String> {
    let family = family(executable)?;
    let whole = &arguments[..arguments.iter().rposition(|byte| *byte == 0)?];
    let program = family.program(whole.split(|byte| *byte == 0).skip(1))?;
    let name = program.rsplit(|byte| *byte == b'/').find(|part| !part.is_empty())?;
    let name: String = String::from_utf8_lossy(name).chars().take(SCRIPT_CHARS).collect();
    (!matches!(name.as_str(), "." | "..")).then_some(name)
}

/// What an argument is.
enum Argument<'a> {
    /// An option, and its value where it has one.
    Option,
    /// An option whose value is the next argument.
    Valued,
    /// The program is this or, if `None`, the next argument.
    Program(Option<&'a [u8]>),
    /// The next argument is the program, whatever it looks like.
    EndOfOptions,
    NoProgram,
}

impl Family {
    fn program<'a>(&self, mut arguments: impl Iterator<Item = &'a [u8]>) -> Option<&'a [u8]> {
        loop {
            match self.argument(arguments.next()?) {
                Argument::Option => {}
                Argument::Valued => drop(arguments.next()?),
                Argument::Program(Some(program)) => return Some(program),
                Argument::Program(None) | Argument::EndOfOptions => return arguments.next(),
                Argument::NoProgram => return None,
            }
        }
    }

    fn argument<'a>(&self, argument: &'a [u8]) -> Argument<'a> {
        match (self.dialect, argument) {
            (Dialect::Shell, b"-" | b"--") | (Dialect::Common, b"--") => Argument::EndOfOptions,
            (Dialect::Common, b"-") | (Dialect::Java, [b'@', ..]) => Argument::NoProgram,
            (_, [b'-', b'-', word @ ..]) | (Dialect::Java, [b'-', word @ ..]) => self.word(word),
            (Dialect::Shell, [b'-' | b'+', letters @ ..]) => self.shell_letters(letters),
            (_, [b'-', letters @ ..]) => self.letters(letters),
            _ => Argument::Program(Some(argument)),
        }
    }

    fn word<'a>(&self, word: &'a [u8]) -> Argument<'a> {
        let (name, value) = match word.iter().position(|byte| *byte == b'=') {
            Some(at) => (&word[..at], Some(&word[at + 1..])),
            None => (word, None),
        };
        let is_in = |words: &[&str]| words.iter().any(|word| word.as_bytes() == name);
        if is_in(self.words.code) {
            Argument::NoProgram
        } else if is_in(self.words.program) {
            Argument::Program(value)
        } else if is_in(self.words.valued) && value.is_none() {
            Argument::Valued
        } else {
            Argument::Option
        }
    }

    /// Several options in one argument, as in `-Bum module`.
    fn letters<'a>(&self, letters: &'a [u8]) -> Argument<'a> {
        let is_in = |set: &str, letter: u8| set.as_bytes().contains(&letter);
        for (at, letter) in letters.iter().enumerate() {
            let rest = &letters[at + 1..];
            if is_in(self.code, *letter) {
                return Argument::NoProgram;
            } else if is_in(self.program, *letter) {
                return Argument::Program((!rest.is_empty()).then_some(rest));
            } else if is_in(self.valued, *letter) {
                return if rest.is_empty() { Argument::Valued } else { Argument::Option };
            } else if is_in(self.attached, *letter) {
                return Argument::Option;
            }
        }
        Argument::Option
    }

    /// The same for a shell: in `-euo pipefail` the letters after an option with a value are options too.
    fn shell_letters<'a>(&self, letters: &[u8]) -> Argument<'a> {
        let has = |set: &str| letters.iter().any(|letter| set.as_bytes().contains(letter));
        if has(self.code) {
            Argument::NoProgram
        } else if has(self.valued) {
            Argument::Valued
        } else {
            Argument::Option
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Of a command line as it is typed, without quotes; the first word is the executable.
    fn of(line: &str) -> Option<String> {
        let words: Vec<&str> = line.split(' ').collect();
        script(words[0], format!("{}\0", words.join("\0")).as_bytes())
    }

    #[test]
    fn what_follows_the_options_is_the_program() {
        for (line, expected) in [
            ("python3 worker.py", "worker.py"),
            ("python3.11 -Bu -W ignore -Xdev /srv/app/worker.py --port 80", "worker.py"),
            ("python3.13t -O -X gil=0 worker.py", "worker.py"),
            ("python3 --check-hash-based-pycs always a.py", "a.py"),
            ("python3 -- -c", "-c"),
            ("python3 /venv/bin/gunicorn app:app", "gunicorn"),
            ("python3 /srv/app/", "app"),
            ("python3 -m celery -A x worker", "celery"),
            ("python3 -um http.server", "http.server"),
            ("pypy3.10 -mtimeit x", "timeit"),
            ("node server.js", "server.js"),
            ("nodejs --inspect --require ./trace.js --max-old-space-size=4096 /srv/server.js", "server.js"),
            ("node -r ts-node/register src/index.ts", "index.ts"),
            ("node --import=tsx main.ts", "main.ts"),
            ("java -jar app.jar", "app.jar"),
            ("java -Xmx1g -jar -Dkey=value /opt/app/app.jar --port=1", "app.jar"),
            ("java -cp a.jar:b.jar -XX:+UseG1GC com.acme.Main x", "com.acme.Main"),
            ("java --class-path x com/acme/Main", "Main"),
            ("java -p mods -m com.acme/com.acme.Main", "com.acme.Main"),
            ("java --module=com.acme/com.acme.Main", "com.acme.Main"),
            ("java --add-opens java.base/java.lang=ALL-UNNAMED Main", "Main"),
            ("ruby -W0 -rbundler/setup -I lib app.rb", "app.rb"),
            ("ruby3.1 /usr/bin/puma -p 80", "puma"),
            ("ruby --encoding utf-8 -S rake test", "rake"),
            ("perl -w -Ilib -MData::Dumper job.pl", "job.pl"),
            ("perl5.36 -T -I lib /usr/bin/ack x", "ack"),
            ("php8.2 -d memory_limit=1G -q artisan queue:work", "artisan"),
            ("php -f cron.php", "cron.php"),
            ("php --file cron.php", "cron.php"),
            ("bash build.sh -c", "build.sh"),
            ("bash -euo pipefail ./build.sh", "build.sh"),
            ("bash -eo pipefail +o posix +x --rcfile rc build.sh", "build.sh"),
            ("dash -e /etc/init.d/x start", "x"),
            ("sh - -odd", "-odd"),
        ] {
            assert_eq!(of(line).as_deref(), Some(expected), "{line}");
        }
    }

    #[test]
    fn where_there_is_no_program_it_is_the_interpreter() {
        for line in [
            "python3",
            "python3 -",
            "python3 -c code x.py",
            "python3 -Bc code",
            "python3 -m",
            "python3 -W",
            "python3 -i",
            "python3 --version x.py",
            "node",
            "node -",
            "node -e code x",
            "node -pe code",
            "node --eval code x",
            "node --run dev",
            "node .",
            "java",
            "java -version",
            "java @options Main",
            "java -cp",
            "ruby -e code x",
            "ruby -ne code x",
            "perl -pi -e code file",
            "perl -0777ne code file",
            "perl -lane code file",
            "php -r code x",
            "php -S localhost:80 router.php",
            "bash -c command name",
            "bash -lc command name",
            "bash -euo pipefail -c command",
            "sh -s x",
            "bash",
            "sh -",
            // Those are no interpreters.
            "python3-config x",
            "php-fpm8.2 x",
            "javac Main.java",
            "shred file",
            "busybox sh x",
            "",
        ] {
            assert_eq!(of(line), None, "{line}");
        }
    }

    #[test]
    fn an_argument_that_is_not_all_there_does_not_count() {
        assert_eq!(script("python3", b"python3\0-u\0worker.p"), None);
        assert_eq!(script("python3", b"python3"), None);
        assert_eq!(script("python3", b""), None);
        assert_eq!(script("python3", b"python3\0\0x\0"), None, "an empty one is no option");
        assert_eq!(script("python3", b"python3\0w\xff.py\0").as_deref(), Some("w\u{fffd}.py"));
    }

    /// An executable of each family, and some that are none.
    fn executables() -> impl Strategy<Value = String> {
        let names: Vec<&str> = FAMILIES.iter().map(|family| family.executable).chain(["", "make"]).collect();
        (prop::sample::select(names), "[0-9.]{0,3}(t|d|-dbg|x)?").prop_map(|(name, version)| format!("{name}{version}"))
    }

    fn arguments() -> impl Strategy<Value = Vec<u8>> {
        let bytes = prop::collection::vec(any::<u8>(), 0..6);
        let typical = "(-{0,3}[a-zA-Z?]{1,4}(=x)?|[-+@]|/{0,2}[a-z.]{0,3}/{0,2}|--module|-cp)".prop_map(String::into_bytes);
        prop::collection::vec(prop_oneof![typical, bytes], 0..8).prop_map(|words| words.join(&0))
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived_and_a_program_is_a_name_among_them(executable in executables(), arguments in arguments()) {
            if let Some(name) = script(&executable, &arguments) {
                prop_assert!(is_interpreter(&executable));
                prop_assert!(!name.is_empty() && !name.contains(['/', '\0']) && name.chars().count() <= SCRIPT_CHARS);
                prop_assert!(String::from_utf8_lossy(&arguments).contains(&name));
            }
        }

        /// Neither what comes after the program nor flags before it change what it is.
        #[test]
        fn the_program_depends_on_nothing_behind_it(executable in executables(), name in "[a-z0-9_]{1,9}\\.x", more in arguments()) {
            let line = [executable.as_bytes(), b"\0/srv/", name.as_bytes(), b"\0", &more, b"\0"].concat();
            prop_assert_eq!(script(&executable, &line), is_interpreter(&executable).then_some(name));
        }
    }
}
