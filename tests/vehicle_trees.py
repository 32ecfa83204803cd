"""Small trees in the official layouts of vehicle data sets; the files are empty, for no reader opens an image.

File names and the form of the lists are those that the sources named in the readers' docstrings give.
"""

import re

VERI = {
    "image_train": ("0001_c001_00016450_0.jpg", "0003_c002_00030600_0.jpg"),
    "image_query": ("0002_c002_00030600_0.jpg", "0005_c003_00000007_1.jpg"),
    "image_test": (
        "0002_c002_00030600_0.jpg",
        "0002_c002_00030605_1.jpg",
        "0002_c004_00084250_0.jpg",
        "0005_c003_00000007_1.jpg",
    ),
}
WILD = {
    "train_list.txt": ("00001/000001", "00001/000002", "00002/000003"),
    "test_3000.txt": ("00011/000112", "00012/000122"),
    "test_3000_query.txt": ("00011/000111",),
    "test_5000.txt": ("00011/000111", "00011/000112", "00013/000132"),
    "test_5000_query.txt": ("00012/000122", "00013/000131"),
    "test_10000.txt": ("00013/000132", "00011/000112", "00014/000142"),
    "test_10000_query.txt": ("00011/000111", "00014/000141"),
}
CAMERAS = {"1": 7, "2": 104, "3": 7}
VEHICLE_ID = {
    "train_list.txt": ("0000001 0", "0000002 0", "0000003 7"),
    "test_list_800.txt": ("0000011 20", "0000012 20", "0000013 21", "0000014 21"),
    "test_list_1600.txt": ("0000013 21", "0000014 21", "0000015 22", "0000016 22"),
    "test_list_2400.txt": ("0000016 22", "0000015 22", "0000011 20", "0000012 20"),
    "test_list_3200.txt": ("0000091 90",),
    "test_list_6000.txt": ("0000091 90",),
    "test_list_13164.txt": ("0000091 90",),
}
TIME = "2018-03-11 07:41:20"


def write(file, lines):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines))


def images(folder, names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


def write_veri(root):
    """VeRi-776 as its ReadMe.txt lists it."""
    for folder, names in VERI.items():
        images(root / folder, names)
        write(root / f"name_{folder[6:]}.txt", names)
    gallery = VERI["image_test"]
    write(root / "test_track.txt", (f"0005_c003_1 {gallery[3]} ", f"0002_c002_2 {gallery[0]} {gallery[1]} "))
    write(root / "gt_index.txt", ("3 ", ""))
    write(root / "jk_index.txt", ("1 2 ", "4 "))
    for name in ("ReadMe.txt", "list_color.txt", "list_type.txt", "camera_ID.txt", "camera_Dist.txt"):
        write(root / name, ("x",))
    for name in ("train_label.xml", "test_label.xml"):
        (root / name).write_bytes('<?xml version="1.0" encoding="gb2312"?>'.encode("gb2312"))
    return root


def write_wild(root):
    """VeRi-Wild as FastReID's loader finds it."""
    keys = sorted({key for lines in WILD.values() for key in lines})
    for key in keys:
        images((root / "images" / key).parent, (key.split("/")[1] + ".jpg",))
    for name, lines in WILD.items():
        write(root / "train_test_split" / name, lines)
    rows = (f"{key};{CAMERAS.get(key[-1])};2018-03-11 07:41:2{key[-1]};Benz;SUV;white" for key in keys)
    write(root / "train_test_split" / "vehicle_info.txt", ("id/image;Camera ID;Time;Model;Type;Color", *rows))
    return root


def give_cameras(wild):
    """The lists under their other names, with training identities counted anew from 0."""
    lists = wild / "train_test_split"
    new = {"00001": 0, "00002": 1}
    for name, keys in WILD.items():
        (lists / name).unlink()
        other = "train_list_start0.txt" if "train" in name else re.sub(r"(?<=test_)\d+", r"\g<0>_id", name)
        pids = (new.get(key[:5], int(key[:5])) for key in keys)
        rows = (f"{key}.jpg {pid} {CAMERAS[key[-1]]}" for key, pid in zip(keys, pids, strict=True))
        write(lists / other, rows)
    return wild


COPIED = {
    "bounding_box_train": ("00000_c7_000001.jpg", "00001_c104_000002.jpg", "00011_c7_000003.jpg"),
    "test_small": ("00011_c104_000112.jpg", "00012_c104_000122.jpg"),
    "query_small": ("00011_c7_000111.jpg",),
    "test_middle": ("00011_c104_000112.jpg", "00013_c104_000132.jpg"),
    "query_middle": ("00012_c104_000122.jpg", "00013_c7_000131.jpg"),
    "bounding_box_test": ("00011_c104_000112.jpg", "00014_c104_000142.jpg"),
    "query": ("00011_c7_000111.jpg", "00014_c7_000141.jpg"),
}


def write_copied(root):
    """VeRi-Wild as the script of SSML-FD's authors copies it."""
    for folder, names in COPIED.items():
        images(root / folder, names)
    return root


def write_vehicle_id(root):
    """VehicleID_V1.0 with all its lists."""
    images(root / "image", {line.split()[0] + ".jpg" for lines in VEHICLE_ID.values() for line in lines})
    for name, lines in VEHICLE_ID.items():
        write(root / "train_test_split" / name, lines)
    write(root / "attribute" / "color_attr.txt", ("0 1",))
    write(root / "attribute" / "model_attr.txt", ("0 1",))
    return root


def names(split, positions=None):
    chosen = range(len(split)) if positions is None else positions
    return [split.paths[position].name for position in chosen]


def break_file(file, content):
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
