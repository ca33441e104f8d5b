"""Renders a chart with Helm's own library, and checks what comes of it by the schemas of Kubernetes and of Prometheus' operator.

Arguments: the chart, then values as JSON, one set each. Prints JSON: for each set either "refused", Helm's words, or "documents", with
what is wrong with them as "faults".
"""

import json
import sys

import helm_python
import kubernetes_validate
import yaml
from cloudcoil.models.prometheus_operator.v1 import PodMonitor

VERSIONS = ("1.30", kubernetes_validate.latest_version())


def faults(document):
    if document["kind"] == "PodMonitor":
        # What the model does not know is lost on the way through it.
        known = PodMonitor.model_validate(document).model_dump(mode="json", by_alias=True, exclude_unset=True)
        return [] if known == document else [f"PodMonitor: {document} is understood as {known}"]
    found = []
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            found.append(f"{document['kind']} in Kubernetes {version}: {error.message} at {list(error.path)}")
    return found


def rendered(chart, values):
    try:
        files = chart.render(values, name="test", namespace="monitoring")
    except helm_python.HelmError as error:
        return {"refused": str(error)}
    manifests = [text for path, text in sorted(files.items()) if path.endswith(".yaml")]
    documents = [document for text in manifests for document in yaml.safe_load_all(text) if document]
    return {"documents": documents, "faults": [fault for document in documents for fault in faults(document)]}


def main():
    path, *sets = sys.argv[1:]
    lint = helm_python.lint(path)
    with helm_python.Chart.load(path) as chart:
        result = [rendered(chart, json.loads(values)) for values in sets]
    print(json.dumps({"lint": [str(error) for error in lint["errors"]], "rendered": result}))


main()
