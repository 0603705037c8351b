{
  description = "Hide network services, open them to authenticated clients";
  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";
  outputs = { self, nixpkgs }:
    let
      binaries = {
        x86_64-linux = { file = "knock-linux-x64"; sha256 = "@SHA256 knock-linux-x64@"; };
        aarch64-linux = { file = "knock-linux-arm64"; sha256 = "@SHA256 knock-linux-arm64@"; };
        x86_64-darwin = { file = "knock-darwin-x64"; sha256 = "@SHA256 knock-darwin-x64@"; };
        aarch64-darwin = { file = "knock-darwin-arm64"; sha256 = "@SHA256 knock-darwin-arm64@"; };
      };
      package = system:
        let
          pkgs = nixpkgs.legacyPackages.${system};
          binary = binaries.${system};
        in pkgs.stdenv.mkDerivation {
          pname = "knock";
          version = "@VERSION@";
          src = pkgs.fetchurl { url = "@URL@/${binary.file}"; inherit (binary) sha256; };
          nativeBuildInputs = pkgs.lib.optional pkgs.stdenv.isLinux pkgs.autoPatchelfHook;
          buildInputs = pkgs.lib.optional pkgs.stdenv.isLinux pkgs.stdenv.cc.cc.lib;
          dontUnpack = true;
          # strip would cut off the program that is behind the runtime.
          dontStrip = true;
          installPhase = "install -Dm755 $src $out/bin/knock";
          meta.mainProgram = "knock";
        };
    in {
      packages = nixpkgs.lib.mapAttrs (system: _: { default = package system; }) binaries;
    };
}
