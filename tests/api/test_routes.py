"""The table of routes: each row has its function, and each function its row."""

import inspect
from importlib import import_module
from pkgutil import iter_modules

from starlette.responses import Response

from authsvc import web
from authsvc.api.routes import ROUTES
from authsvc.app import endpoint_of
from authsvc.web.context import RequestContext

WEB = [import_module(f"authsvc.web.{module.name}") for module in iter_modules(web.__path__) if not module.ispkg]


def is_route_function(function: object) -> bool:
    if not inspect.iscoroutinefunction(function):
        return False
    signature = inspect.signature(function)
    parameters = [parameter.annotation for parameter in signature.parameters.values()]
    return parameters == [RequestContext] and signature.return_annotation is Response


def test_each_row_names_a_function() -> None:
    """The endpoint of each row is a function of authsvc/web that takes the context and nothing else."""
    assert [route for route in ROUTES if not is_route_function(endpoint_of(route))] == []


def test_each_function_has_a_row() -> None:
    """A route function that no row names would be dead code."""
    functions = {
        f"{module.__name__.rpartition('.')[2]}.{name}"
        for module in WEB
        for name, function in inspect.getmembers(module, is_route_function)
        if function.__module__ == module.__name__ and not name.startswith("_")
    }
    assert functions == {route.endpoint for route in ROUTES}


def test_ids_are_unique() -> None:
    """The name of the function is the id of the operation in the contract, so that no two rows share it."""
    names = [route.name for route in ROUTES]
    assert len(set(names)) == len(names)
