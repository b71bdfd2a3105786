//! Tells the crate which OpenSSL it is compiled for: `cfg(ossl320)` holds for 3.2.0 and newer, and so on;
//! `cfg(ossl_engine)` where it has engines.

fn main() {
    let number = std::env::var("DEP_OPENSSL_VERSION_NUMBER").expect("openssl-sys names the version it found");
    let number = u64::from_str_radix(&number, 16).expect("the version is a hexadecimal number");
    for (name, since) in [
        ("ossl320", 0x3020_0000),
        ("ossl330", 0x3030_0000),
        ("ossl340", 0x3040_0000),
        ("ossl350", 0x3050_0000),
        ("ossl400", 0x4000_0000),
    ] {
        println!("cargo::rustc-check-cfg=cfg({name})");
        if number >= since {
            println!("cargo::rustc-cfg={name}");
        }
    }
    let left_out = std::env::var("DEP_OPENSSL_CONF").unwrap_or_default();
    println!("cargo::rustc-check-cfg=cfg(ossl_engine)");
    if number < 0x4000_0000 && !left_out.split(',').any(|name| name == "OPENSSL_NO_ENGINE") {
        println!("cargo::rustc-cfg=ossl_engine");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
