class Knock < Formula
  desc "Hide network services, open them to authenticated clients"
  homepage "@HOMEPAGE@"
  version "@VERSION@"
  license "MIT"

  on_macos do
    on_arm do
      url "@URL@/knock-darwin-arm64"
      sha256 "@SHA256 knock-darwin-arm64@"
    end
    on_intel do
      url "@URL@/knock-darwin-x64"
      sha256 "@SHA256 knock-darwin-x64@"
    end
  end
  on_linux do
    on_arm do
      url "@URL@/knock-linux-arm64"
      sha256 "@SHA256 knock-linux-arm64@"
    end
    on_intel do
      url "@URL@/knock-linux-x64"
      sha256 "@SHA256 knock-linux-x64@"
    end
  end

  resource "share" do
    url "@URL@/knock-share.tar.gz"
    sha256 "@SHA256 knock-share.tar.gz@"
  end

  def install
    bin.install Dir["knock-*"].first => "knock"
    resource("share").stage { share.install Dir["share/*"] }
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/knock version")
  end
end
