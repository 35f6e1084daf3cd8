import there_is_no_such_package


def main(x):
    return x
