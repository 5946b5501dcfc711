//! What the chores need beside cargo: installed below `target/` where possible, else by Debian's package manager
//! when we are root, else asked for in words.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{root, target};

/// Microsoft's SDK for Python.
const PYTHON_SDK: &str = "azure-mixedreality-remoterendering==1.0.0b3";

/// Packages of the Python side: Microsoft's SDKs, what their newest base forgets to ask for, what their asynchronous
/// halves and their tests need, and the fuzzer of our OpenAPI.
const PYTHON_PACKAGES: [&str; 6] = [
    PYTHON_SDK,
    "azure-mgmt-mixedreality==1.0.0",
    "six",
    "aiohttp",
    "pytest-asyncio",
    "schemathesis==4.32.5",
];

/// Versions of the SDK's base beside the newest: the oldest that works, and the last that asks for `six` itself.
const AZURE_CORES: [&str; 2] = ["1.24.0", "1.35.1"];

/// Installs everything that `test` needs.
pub(crate) fn setup() -> Result<()> {
    npm()?;
    conformance_npm()?;
    conformance_python()?;
    chromium()?;
    if let Err(error) = maven() {
        eprintln!("{error:#}");
    }
    if let Err(error) = unpacked() {
        eprintln!("{error:#}");
    }
    Ok(())
}

/// Debian packages of programs that some tests run, and skip without. They are unpacked below `target/` instead of
/// installed: nothing of the system changes, no service starts, and nobody has to be root.
const UNPACKED: [&str; 2] = ["pebble", "prometheus"];

/// Where programs are looked for, those of [`UNPACKED`] last.
pub(crate) fn with_unpacked_programs() -> std::ffi::OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let ours = target().join("debian/usr/bin");
    // Only a folder with a colon in its name cannot be joined.
    std::env::join_paths(std::env::split_paths(&path).chain([ours])).unwrap_or(path)
}

fn unpacked() -> Result<()> {
    let dir = target().join("debian");
    for package in UNPACKED {
        let stamp = dir.join(format!("{package}.unpacked"));
        if stamp.exists() {
            continue;
        }
        let downloads = dir.join("downloads");
        std::fs::create_dir_all(&downloads)?;
        run(Command::new("apt-get").args(["-qq", "download", package]).current_dir(&downloads))
            .with_context(|| format!("tests that need Debian's package {package} are left out"))?;
        for entry in std::fs::read_dir(&downloads)? {
            let file = entry?.path();
            run(Command::new("dpkg-deb").arg("--extract").arg(&file).arg(&dir))?;
            std::fs::remove_file(file)?;
        }
        std::fs::write(stamp, "")?;
    }
    Ok(())
}

/// Runs a command with its output shown; fails with its name.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{command:?} cannot be started"))?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(())
}

/// Whether `program --version` works.
fn works(program: impl AsRef<OsStr>) -> bool {
    let asked = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}

/// Installs Debian packages if we may, else says which.
fn debian(packages: &[&str], what_for: &str) -> Result<()> {
    let root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout.trim_ascii() == b"0");
    if !(root && works("apt-get")) {
        bail!("{what_for} needs {0}; install it (Debian: apt-get install {0})", packages.join(" "));
    }
    eprintln!("installing {} for {what_for}", packages.join(" "));
    let apt = || {
        let mut apt = Command::new("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive").args(["-qq", "-y"]).stdout(Stdio::null());
        apt
    };
    run(apt().arg("update"))?;
    run(apt().args(["install", "--no-install-recommends"]).args(packages))
}

/// Path of a Chromium.
pub(crate) fn chromium() -> Result<PathBuf> {
    let path = PathBuf::from("/usr/bin/chromium");
    if !path.exists() {
        debian(&["chromium"], "the browser test")?;
    }
    Ok(path)
}

/// Installs the npm packages of `web/`.
pub(crate) fn npm() -> Result<()> {
    npm_packages("web", "npm", &["sdk", "viewer", "console", "e2e"])
}

/// Installs the npm packages of `conformance/node/`.
pub(crate) fn conformance_npm() -> Result<()> {
    npm_packages("conformance/node", "npm-conformance", &[])
}

/// Installs the npm packages of `bench/three/`.
pub(crate) fn bench_npm() -> Result<()> {
    npm_packages("bench/three", "npm-bench", &[])
}

/// Installs a folder's npm packages below `target/` if its lock file changed, and links them where Node looks.
fn npm_packages(folder: &str, name: &str, workspaces: &[&str]) -> Result<()> {
    if !works("node") || !works("npm") {
        bail!("the web tests need Node 20 or newer with npm; install them (https://nodejs.org)");
    }
    let (from, installed) = (root().join(folder), target().join(name));
    let stamp = installed.join("installed-lock.json");
    let lock = std::fs::read(from.join("package-lock.json"))
        .with_context(|| format!("{folder}/package-lock.json"))?;
    if std::fs::read(&stamp).ok().as_deref() != Some(&lock) {
        std::fs::create_dir_all(&installed)?;
        for file in ["package.json", "package-lock.json", ".npmrc"] {
            std::fs::copy(from.join(file), installed.join(file))
                .with_context(|| format!("{folder}/{file}"))?;
        }
        for workspace in workspaces {
            link(&from.join(workspace), &installed.join(workspace))?;
        }
        run(Command::new("npm")
            .args(["ci", "--no-audit", "--no-fund", "--loglevel=error"])
            .current_dir(&installed)
            .stdout(Stdio::null()))?;
        std::fs::write(&stamp, &lock)?;
    }
    let modules = from.join("node_modules");
    // A real folder is somebody's own `npm ci`.
    if modules.is_symlink() || !modules.exists() {
        link(&installed.join("node_modules"), &modules)?;
    }
    Ok(())
}

/// Makes `at` a symbolic link to `to`, whatever it linked to before.
fn link(to: &Path, at: &Path) -> Result<()> {
    if at.is_symlink() {
        std::fs::remove_file(at)?;
    }
    std::os::unix::fs::symlink(to, at).with_context(|| format!("{} cannot be linked", at.display()))
}

/// A Python with these packages, in a virtual environment below `target/`.
pub(crate) fn python(packages: &[&str]) -> Result<PathBuf> {
    let venv = target().join("venv");
    let python = venv.join("bin/python");
    if !works(&python) {
        if !works("python3") {
            debian(&["python3", "python3-venv"], "the Python conformance test")?;
        }
        let made = Command::new("python3").args(["-m", "venv"]).arg(&venv).stdout(Stdio::null()).status()?;
        if !made.success() {
            // Debian's python3 has the module without the part that it needs.
            debian(&["python3-venv"], "the Python conformance test")?;
            run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
        }
    }
    let stamp = venv.join("installed.txt");
    let installed = std::fs::read_to_string(&stamp).unwrap_or_default();
    let missing: Vec<&str> =
        packages.iter().copied().filter(|package| !installed.lines().any(|line| line == *package)).collect();
    if !missing.is_empty() {
        run(Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(&missing))?;
        std::fs::write(&stamp, installed + &missing.join("\n") + "\n")?;
    }
    Ok(python)
}

/// A Python that can run `conformance/python`, with further versions of the SDK's base and the SDK's own tests in folders
/// beside it.
pub(crate) fn conformance_python() -> Result<PathBuf> {
    let python = python(&PYTHON_PACKAGES)?;
    for version in AZURE_CORES {
        let folder = target().join("azure-core").join(version);
        if !folder.join("azure/core").exists() {
            run(Command::new(&python)
                .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"])
                .args(["--upgrade", "--target"])
                .arg(&folder)
                .arg(format!("azure-core=={version}")))?;
        }
    }
    let tests = target().join("sdk-tests");
    if !tests.join("fetched.txt").exists() {
        run(Command::new(&python)
            .args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"])
            .args(["--no-binary", ":all:", "--dest"])
            .arg(&tests)
            .arg(PYTHON_SDK))?;
        for entry in std::fs::read_dir(&tests)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "gz") {
                run(Command::new(&python).args(["-m", "tarfile", "-e"]).arg(&path).arg(&tests))?;
            }
        }
        std::fs::write(tests.join("fetched.txt"), PYTHON_SDK)?;
    }
    Ok(python)
}

/// Sees to a JDK and Maven, which run `conformance/java`.
pub(crate) fn maven() -> Result<()> {
    if works("mvn") && works("javac") {
        return Ok(());
    }
    debian(&["default-jdk-headless", "maven"], "the Java conformance test")
}

/// A Python with VTK, the peer of the raster bench, and the Mesa that it renders with.
pub(crate) fn bench_python() -> Result<PathBuf> {
    let python = python(&["numpy", "vtk==9.7.2"])?;
    let sees_mesa =
        Command::new(&python).args(["-c", VTK_PROBE]).stderr(Stdio::null()).stdout(Stdio::null()).status()?;
    if !sees_mesa.success() {
        debian(&["libegl1", "libgl1-mesa-dri"], "the comparison with VTK")?;
    }
    Ok(python)
}

/// Renders one picture with VTK, or fails.
const VTK_PROBE: &str = "import vtk; w = vtk.vtkRenderWindow(); w.SetOffScreenRendering(1); w.SetSize(64, 64); \
    w.AddRenderer(vtk.vtkRenderer()); w.Render(); assert 'OpenGL' in w.ReportCapabilities()";

/// Builds the `belvedere` binary in this profile and gives its path.
pub(crate) fn binary(release: bool) -> Result<PathBuf> {
    build("belvedere", release)
}

/// Builds the binary of a package in this profile and gives its path.
pub(crate) fn build(package: &str, release: bool) -> Result<PathBuf> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--package", package]).current_dir(root());
    if release {
        cargo.arg("--release");
    }
    run(&mut cargo)?;
    Ok(target().join(if release { "release" } else { "debug" }).join(package))
}

/// Builds an example of a package and gives its path.
pub(crate) fn example(package: &str, name: &str) -> Result<PathBuf> {
    let mut cargo = Command::new(env!("CARGO"));
    run(cargo.args(["build", "--quiet", "--package", package, "--example", name]).current_dir(root()))?;
    Ok(target().join("debug/examples").join(name))
}

/// Whether the shared models are there.
pub(crate) fn testdata() -> Option<PathBuf> {
    let path = root().parent()?.join("shared/testdata");
    Path::new(&path).is_dir().then_some(path)
}
