//! An outside oracle: the dense network with generated weights of MIPVerify.jl's tests (`mfc+mfc+softmax`; MIT licence), whose
//! nearest adversarial example is published to eight digits.

use certificate::{Affine, Domain, Interval, Layer, Layered, Shape};
use milp::solver::{Microlp, Solver};
use milp::{Complementarity, Distance, Margin, Nearest, Outcome, Question};
use num_traits::ToPrimitive;

use super::*;

/// The first numbers of MIPVerify's table, in thousandths.
const TABLE: [u16; 512] = [
    823, 714, 970, 265, 969, 105, 242, 362, 61, 994, 910, 439, 769, 92, 473, 530, 753, 966, 168, 245, 164, 279, 799,
    114, 615, 666, 853, 25, 856, 13, 177, 340, 846, 766, 799, 506, 388, 412, 479, 980, 278, 236, 539, 745, 934, 583,
    147, 829, 7, 819, 203, 73, 155, 585, 635, 252, 564, 824, 337, 432, 42, 113, 783, 414, 623, 218, 621, 45, 88, 958,
    68, 885, 718, 451, 798, 387, 531, 992, 716, 845, 361, 514, 172, 628, 995, 964, 83, 397, 504, 188, 973, 692, 493,
    218, 967, 498, 33, 752, 33, 641, 585, 849, 347, 379, 211, 582, 453, 935, 355, 99, 539, 697, 360, 333, 870, 127,
    656, 579, 110, 270, 260, 228, 168, 414, 847, 133, 409, 977, 882, 37, 910, 257, 737, 545, 859, 770, 106, 691, 841,
    309, 167, 800, 722, 275, 779, 61, 139, 463, 798, 498, 655, 716, 652, 42, 788, 278, 468, 627, 385, 862, 575, 528,
    711, 426, 983, 218, 577, 198, 820, 944, 868, 1, 430, 468, 421, 976, 24, 441, 994, 760, 967, 362, 408, 288, 640, 96,
    74, 531, 11, 361, 767, 697, 913, 272, 466, 115, 150, 719, 507, 769, 469, 435, 569, 596, 816, 266, 376, 302, 297,
    828, 62, 986, 452, 885, 675, 679, 115, 974, 622, 696, 353, 997, 153, 147, 329, 223, 866, 426, 234, 766, 767, 507,
    860, 876, 67, 962, 277, 196, 151, 903, 43, 215, 910, 161, 86, 585, 411, 95, 551, 682, 267, 858, 310, 262, 253, 613,
    20, 90, 295, 593, 66, 905, 455, 942, 613, 908, 304, 279, 886, 515, 156, 435, 649, 926, 685, 719, 779, 616, 844,
    328, 605, 65, 238, 644, 477, 201, 867, 604, 402, 137, 135, 135, 823, 395, 592, 636, 275, 824, 837, 735, 838, 922,
    369, 495, 796, 881, 616, 641, 236, 165, 914, 244, 916, 403, 721, 119, 320, 725, 619, 102, 300, 64, 502, 997, 30,
    207, 534, 637, 434, 324, 722, 425, 557, 245, 923, 873, 267, 202, 625, 388, 119, 548, 973, 426, 859, 350, 459, 881,
    340, 773, 767, 266, 537, 179, 427, 197, 470, 596, 993, 912, 801, 788, 242, 899, 892, 727, 31, 965, 251, 801, 35,
    957, 238, 246, 560, 222, 964, 812, 886, 753, 484, 32, 714, 337, 850, 110, 629, 62, 86, 459, 899, 685, 106, 184,
    420, 43, 157, 701, 165, 237, 951, 841, 17, 268, 796, 929, 680, 866, 579, 103, 801, 189, 449, 247, 134, 134, 169,
    201, 646, 318, 124, 161, 493, 881, 472, 507, 613, 296, 114, 214, 114, 897, 280, 889, 240, 641, 908, 614, 677, 453,
    79, 95, 119, 572, 169, 360, 803, 853, 250, 259, 776, 777, 50, 556, 129, 395, 468, 639, 635, 306, 104, 868, 602,
    687, 412, 983, 349, 858, 483, 538, 838, 837, 52, 836, 706, 179, 270, 538, 785, 463, 184, 798, 306, 852, 632, 723,
    151, 275, 740, 732, 312, 186, 245, 935, 737, 940, 379, 641, 37, 338, 196, 187, 242, 291, 795, 850, 454, 453, 653,
    167, 873, 519,
];

/// `sides` numbers between `lower` and `upper`, column by column.
fn generated(count: usize, lower: f64, upper: f64) -> Vec<f64> {
    TABLE[..count].iter().map(|n| f64::from(*n) / 1000.0 * (upper - lower) + lower).collect()
}

/// `K^T x + b` of `[inputs, outputs]` weights stored column by column, which is our order.
fn linear(inputs: usize, outputs: usize) -> Affine {
    let narrow = |numbers: Vec<f64>| numbers.into_iter().map(|x| x as f32).collect();
    let (weight, bias) = (generated(inputs * outputs, -1.0, 1.0), generated(outputs, -1.0, 1.0));
    Affine::new(inputs, narrow(weight), narrow(bias)).unwrap()
}

/// A layer and its masked ReLU (-1: zero, 1: the value itself, 0: ReLU) as a layer with a ReLU, and the layer behind it to fit:
/// a value is the difference of two ReLUs.
fn masked(layer: &Affine, mask: &[i8], next: &Affine) -> [Affine; 2] {
    let (mut weight, mut bias, mut sources) = (Vec::new(), Vec::new(), Vec::new());
    for (i, kind) in mask.iter().enumerate().filter(|(_, kind)| **kind >= 0) {
        for sign in if *kind == 1 { [1.0, -1.0].as_slice() } else { &[1.0] } {
            weight.extend(layer.row(i).iter().map(|w| sign * w));
            bias.push(sign * layer.bias()[i]);
            sources.push((i, *sign));
        }
    }
    let behind = (0..next.outputs()).flat_map(|o| sources.iter().map(move |(i, sign)| sign * next.row(o)[*i]));
    let behind = Affine::new(sources.len(), behind.collect(), next.bias().to_vec()).unwrap();
    [Affine::new(layer.inputs(), weight, bias).unwrap(), behind]
}

fn network() -> Layered {
    let first_mask = [0, 0, 0, 0, -1, -1, -1, 1, 1, -1, 1, 0, 1, 0, -1, 1];
    let [first, second] = masked(&linear(32, 16), &first_mask, &linear(16, 8));
    let [second, third] = masked(&second, &[0, -1, 1, 1, -1, -1, 0, 1], &linear(8, 4));
    let layers = [first, second].into_iter().flat_map(|layer| [Layer::Dense(layer), Layer::Relu]);
    Layered::new(Shape::list(32), layers.chain([Layer::Dense(third)]).collect()).unwrap()
}

/// The image is 4 rows of 8, stored column by column and read row by row.
fn image() -> Vec<f64> {
    let pixels = generated(32, 0.0, 1.0);
    (0..32).map(|k| pixels[k % 8 * 4 + k / 8]).collect()
}

fn ask(largest_change: Option<f64>) -> Question {
    Question::Nearest(Nearest {
        point: image(),
        units: vec![1.0; 32],
        distance: Distance::Linf,
        target: Some(0),
        margin: Margin { ratio: 1.0, difference: 0.0 },
        largest_change,
        most_changed: None,
        fixed: vec![],
    })
}

#[test]
fn the_published_distance_is_found_and_proved() {
    let network = network();
    let outputs = network.evaluate(&image());
    for (found, published) in outputs.iter().zip([1.523592, -5.161605, 5.941482, -0.876916]) {
        assert!((found - published).abs() < 1e-5, "{outputs:?}");
    }
    let domain = Domain::from_box(vec![Interval::new(0.0, 1.0); 32]).unwrap();
    let inverse = inverse(&network, &domain);
    for limit in [None, Some(0.085)] {
        let answer = inverse.answer(&ask(limit), MINUTE).unwrap();
        let distance = answer.witness.unwrap().value.to_f64().unwrap();
        println!(
            "limit {limit:?}: {distance:.8}, proven {:.8}, {:?}, {:.2} s",
            answer.bound, answer.outcome, answer.seconds
        );
        assert!((distance - 0.08112308).abs() < 2e-7, "{distance}");
        assert!((answer.bound - 0.08112308).abs() < 2e-7, "{}", answer.bound);
        assert!(matches!(answer.outcome, Outcome::Optimal(milp::Proof::Own { .. })), "{:?}", answer.outcome);
        let programme = inverse.programme(&ask(limit), Complementarity::BigM).unwrap();
        let second = Microlp.solve(&programme, &milp::solver::Limits::time(MINUTE)).incumbent.unwrap().objective;
        assert!((second - 0.08112308).abs() < 1e-6, "{second}");
    }
    let answer = inverse.answer(&ask(Some(0.08)), MINUTE).unwrap();
    assert!(answer.witness.is_none());
    assert!(matches!(answer.outcome, Outcome::Infeasible(milp::Proof::Own { .. }, _)), "{:?}", answer.outcome);
    assert_eq!(answer.bound, f64::INFINITY);
}
