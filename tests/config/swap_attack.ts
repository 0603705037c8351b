/**
 * A local user who swaps files of a folder for links, hard links and pipes
 * while root works there, as fast as it can: a program of Perl, which every
 * Debian has. A tool of owners_test.ts and of the package's test.
 */

/**
 * Arguments: the folder that it attacks, a folder of root's that shall not
 * change, and a place for what it moves away. It goes on until it is ended.
 */
export const SWAP_ATTACK = String.raw`
use strict; use POSIX;
my ($target, $victim, $store) = @ARGV;
my @names = ("server.yaml", "server.key", "code", "openspa", "code/a.secret",
  "openspa/a.pem", "openspa.pem", "openme.key", "state.db", "server.lock");
my $turn = 0;
$| = 1; print "attacking\n";
while (1) {
  $turn++;
  for my $name (@names) {
    my $path = "$target/$name";
    my $kind = $turn % 4;
    my $kept = "$store/" . ($name =~ tr|/|_|r);
    rename $path, $kept;
    if ($kind == 0) { symlink "$victim/secret", $path }
    elsif ($kind == 1) { symlink $victim, $path }
    elsif ($kind == 2) { POSIX::mkfifo($path, 0666) }
    else { link "$victim/secret", $path }
    unlink $path;
    rename $kept, $path;
  }
  # Names that a new file may have for a moment, and the folder itself.
  if (opendir my $dir, $target) {
    for my $name (grep { /\.new$/ } readdir $dir) {
      unlink "$target/$name"; symlink "$victim/secret", "$target/$name";
      unlink "$target/$name" if $turn % 2;
    }
  }
  if (rename $target, "$store/folder") {
    symlink $victim, $target;
    unlink $target;
    rename "$store/folder", $target;
  } elsif ($turn % 2) { symlink $victim, $target } else { unlink $target }
}
`;
