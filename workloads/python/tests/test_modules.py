"""Holds the workloads' modules to their order: what one imports must not import it back, at whatever time."""

import ast
import os
import unittest

from running import LAB  # Makes the workloads importable, too.

import claim_cells
import tasks

FOLDER = os.path.dirname(LAB)


def names_imported(path):
    """The modules that a file imports, those inside functions included."""
    with open(path) as source:
        tree = ast.parse(source.read())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def imports_by_module():
    """Module of the workloads -> those of the workloads that it imports, by name or as a row of its table says."""
    files = {name[:-3]: os.path.join(FOLDER, name) for name in os.listdir(FOLDER) if name.endswith(".py")}
    imports = {name: set(names_imported(path)) & set(files) for name, path in files.items()}
    imports["tasks"] |= modules_of_tasks()
    imports["claim_cells"] |= {topic.module for topic in claim_cells.TOPICS.values()}
    return {name: sorted(imported) for name, imported in imports.items()}


def modules_of_tasks():
    """Where the functions lie that the tables of tasks name, but for those beside the tables."""
    places = [place for row in tasks.TASKS.values() for place in (row.make, row.make_async, row.prepare)]
    places += [row.make for row in tasks.CLAIM_TASKS.values()]
    return {place.partition(".")[0] for place in places if place and "." in place} - {"tasks"}


def circle_in(imports):
    """The modules of one circle in the order in which they import each other, or None."""
    done = set()

    def follow(module, path):
        if module in path:
            return path[path.index(module):] + [module]
        if module in done:
            return None
        for imported in imports[module]:
            found = follow(imported, path + [module])
            if found:
                return found
        done.add(module)
        return None

    return next(filter(None, (follow(module, []) for module in sorted(imports))), None)


class Imports(unittest.TestCase):
    def test_go_one_way(self):
        imports = imports_by_module()
        self.assertIn("tasks", imports["worker"])
        self.assertIn("shared_state", imports["tasks"])
        self.assertIn("sharing", imports["claim_cells"])
        self.assertIsNone(circle_in(imports))

    def test_a_circle_is_found(self):
        self.assertEqual(circle_in({"a": ["b"], "b": ["c", "d"], "c": [], "d": ["b"]}), ["b", "d", "b"])
        self.assertIsNone(circle_in({"a": ["b", "c"], "b": ["c"], "c": []}))


if __name__ == "__main__":
    unittest.main()
