"""The rules as pytest tests: `pytest --pyargs meridian_conformance.suite --meridian-backend mybackend.edges:Backend -k EDGE-11`.

meridian_rules.py  one test for each rule; collected by `plugin`, whatever a project's own ``python_files`` says, and only
                   where a backend is named
"""
