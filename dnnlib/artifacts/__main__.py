"""`./reproduce artifacts list|fetch|verify|add`: the released files on this machine."""

import json
import os

from dnnlib import util
from dnnlib.addresses import without_passwords
from dnnlib.artifacts import store
from dnnlib.artifacts import table as tables
from dnnlib.command_line import Parser
from dnnlib.util import UserError


def _select(table, names):
    """The entries of the given names; a name may end in '*'."""
    chosen = []
    for name in names:
        if name.endswith('*'):
            found = [item for item in table.values() if item.name.startswith(name[:-1])]
        else:
            found = [item for item in [tables.lookup(name, table)] if item]
        if not found:
            raise UserError(f"'{name}' is not in the table of released files; `./reproduce artifacts list` shows "
                            'what is')
        chosen += found
    return chosen


def _state(artifact, artifacts_dir, again=False):
    """(word, path or sentence) for one file on this machine; see `store.check` for `again`."""
    try:
        path = store.find(artifact, artifacts_dir, again)
    except UserError as err:
        return 'bad', str(err)
    if path is None:
        return 'absent', ''
    return ('verified' if artifact.sha256 else 'present'), path


def list_command(args, table):
    """One line per file; everything that is known with --json."""
    chosen = _select(table, args.names) if args.names else list(table.values())
    states = [_state(artifact, args.artifacts_dir) for artifact in chosen]
    if args.json:
        print(json.dumps([dict(artifact.to_json(), urls=[without_passwords(url) for url in artifact.urls], state=state,
                               path=path)
                          for artifact, (state, path) in zip(chosen, states)], indent=1))
        return 0
    print(f'Folder: {os.path.abspath(store.folder(args.artifacts_dir))}')
    for artifact, (state, _) in zip(chosen, states):
        size = f'{artifact.size / 1e6:.1f} MB' if artifact.size else '?'
        print(f'{artifact.name:<24} {state:<9} {size:>9}  {artifact.purpose}')
    return 0


def fetch_command(args, table):
    """Downloads what is not there yet; tries every file before failing."""
    failures = []
    for artifact in _select(table, args.names):
        try:
            print(store.get(artifact, args.artifacts_dir))
        except UserError as err:
            failures.append(str(err))
    if failures:
        raise UserError('\n'.join(failures))
    return 0


def verify_command(args, table):
    """Reads and checks the named files, or all that are here. Exit status 1 if one is bad or a named one is absent."""
    chosen = _select(table, args.names) if args.names else list(table.values())
    bad, count = False, 0
    for artifact in chosen:
        state, detail = _state(artifact, args.artifacts_dir, again=True)
        if state != 'absent' or args.names:
            print(f'{artifact.name:<24} {state:<9} {detail}')
            bad, count = bad or state in ('bad', 'absent'), count + 1
    if not count:
        print(f'None of the {len(chosen)} released files is in {store.folder(args.artifacts_dir)}')
    return 1 if bad else 0


def add_command(args, table):
    """Puts a file that was downloaded by hand into the folder; with --url, enters a new file into the table."""
    if args.file and not os.path.isfile(args.file):
        raise UserError(f'{args.file}: there is no such file')
    artifact = tables.lookup(args.name, table)
    if args.url or args.record:
        known = artifact.to_json() if artifact else {'name': args.name, 'file': args.name, 'urls': []}
        known['urls'] = args.url or known['urls']
        if artifact is None and args.file:
            known['file'] = os.path.basename(args.file)
        if args.file and args.record:
            known.update(size=os.path.getsize(args.file), sha256=util.sha256_file(args.file), note='')
        for key in ('licence', 'purpose'):
            if getattr(args, key):
                known[key] = getattr(args, key)
        artifact = tables.Artifact(**known)
        table[artifact.name] = artifact
        tables.write_table(table, args.table)
        print(f'{artifact.name}: entered into {args.table}')
    if artifact is None:
        raise UserError(f"'{args.name}' is not in the table of released files; give --url to enter it")
    if args.file:
        print(store.place(artifact, args.file, args.artifacts_dir))
    elif not args.url:
        raise UserError('give --file (a file that you have) or --url (where it is published)')
    return 0


def _example_commands():
    """Commands with names of the project's own table."""
    one, other = list(tables.read_table().values())[:2]
    return ('list', f"list '{one.name.split('-')[0]}*' --json", f'fetch {one.name} {other.name}', 'verify',
            f'add {one.name} --file {one.file}')


def _examples(lines):
    return '\n'.join(['examples:'] + [f'  ./reproduce artifacts {line}' for line in lines])


def main(argv=None):
    examples = _example_commands()
    parser = Parser(prog='./reproduce artifacts', description=__doc__, epilog=_examples(examples))
    parser.add_argument('--table', default=tables.TABLE, help="the data file (default: the project's)")
    common = Parser(add_help=False)
    common.add_argument('--artifacts-dir', metavar='DIR', help='folder of released files (default: '
                        f'${store.ENVIRONMENT}, else "artifacts" in the cache)')
    commands = parser.add_subparsers(dest='command', metavar='COMMAND')
    commands.required = True

    def command(name, func, text):
        sub = commands.add_parser(name, parents=[common], help=text, description=text,
                                  epilog=_examples(line for line in examples if line.startswith(name)))
        sub.set_defaults(func=func)
        return sub

    sub = command('list', list_command, 'what is published, and what of it is on this machine')
    sub.add_argument('names', nargs='*', metavar='NAME', help='only these; NAME* for several')
    sub.add_argument('--json', action='store_true', help='everything that is known, as JSON')
    sub = command('fetch', fetch_command, 'download files that are not here yet')
    sub.add_argument('names', nargs='+', metavar='NAME', help='short name or file name; NAME* for several')
    sub = command('verify', verify_command, 'read the files and check sizes, checksums and content')
    sub.add_argument('names', nargs='*', metavar='NAME', help='default: every file that is here')
    sub = command('add', add_command, 'take in a file downloaded by hand, or enter a new one into the table')
    sub.add_argument('name', metavar='NAME', help='short name')
    sub.add_argument('--file', metavar='FILE', help='the file; it is checked and copied')
    sub.add_argument('--url', metavar='URL', action='append', help='where it is published; may be repeated')
    sub.add_argument('--record', action='store_true', help="write FILE's size and checksum into the table as confirmed")
    sub.add_argument('--licence', metavar='TEXT', help='its licence')
    sub.add_argument('--purpose', metavar='TEXT', help='what it is for')
    sub.only_with('--file', '--record')
    args = parser.parse_args(argv)
    return args.func(args, tables.read_table(args.table))


if __name__ == '__main__':
    util.run_main(main)
