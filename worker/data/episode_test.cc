// Goal: episodes are pure functions that draw classes and images without replacement and evenly.
// Method: a made-up list; counts over many episodes against what even draws give.
#include "worker/data/episode.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

namespace evograd {
namespace {

// Class c has `images` + c images.
ImageList MakeList(int classes, int images) {
  ImageList list;
  for (int c = 0; c < classes; ++c) {
    ImageClass one;
    one.label = 2 * c;
    for (int i = 0; i < images + c; ++i) {
      one.images.push_back(list.images.size());
      list.images.push_back(std::to_string(list.images.size()));
      list.classes_of.push_back(c);
    }
    list.classes.push_back(one);
  }
  return list;
}

TEST(EpisodeTest, ClassesAndImagesWithoutReplacement) {
  const ImageList list = MakeList(7, 6);
  const EpisodeShape shape{5, 2, 4};
  for (int step = 0; step < 50; ++step) {
    const Episode episode = DrawEpisode(list, shape, 1, step, 0);
    ASSERT_EQ(episode.classes.size(), 5);
    ASSERT_EQ(episode.images.size(), shape.images());
    EXPECT_EQ(std::set<int64_t>(episode.classes.begin(), episode.classes.end()).size(), 5);
    EXPECT_EQ(std::set<int64_t>(episode.images.begin(), episode.images.end()).size(), 30);
    for (int i = 0; i < shape.images(); ++i) {
      EXPECT_EQ(list.classes_of[episode.images[i]], episode.classes[i / shape.images_per_way()]);
    }
  }
}

TEST(EpisodeTest, PureFunctionOfSeedStepAndIndex) {
  const ImageList list = MakeList(20, 20);
  const EpisodeShape shape;
  std::set<std::vector<int64_t>> different;
  for (uint64_t seed = 0; seed < 3; ++seed) {
    for (int step = 0; step < 3; ++step) {
      for (int index = 0; index < 3; ++index) {
        const Episode episode = DrawEpisode(MakeList(20, 21), shape, seed, step, index);
        EXPECT_EQ(episode.images, DrawEpisode(MakeList(20, 21), shape, seed, step, index).images);
        different.insert(episode.images);
      }
    }
  }
  EXPECT_EQ(different.size(), 27);
}

TEST(EpisodeTest, EveryImageIsDrawnAlike) {
  const ImageList list = MakeList(6, 5);
  const EpisodeShape shape{2, 1, 2};
  constexpr int kEpisodes = 20000;
  std::map<int64_t, int> support;
  std::map<int64_t, int> any;
  std::map<std::pair<int64_t, int64_t>, int> pairs;
  for (int step = 0; step < kEpisodes; ++step) {
    const Episode episode = DrawEpisode(list, shape, 5, step, 0);
    for (int i = 0; i < shape.images(); ++i) {
      ++any[episode.images[i]];
      if (i % 3 == 0) ++support[episode.images[i]];
    }
    ++pairs[{episode.classes[0], episode.classes[1]}];
  }
  for (int64_t image = 0; image < list.images.size(); ++image) {
    const double share = 2.0 / 6 / list.classes[list.classes_of[image]].images.size();
    const auto near = [&](int count, double expected) {
      EXPECT_NEAR(count, expected, 5 * std::sqrt(expected)) << image;
    };
    near(support[image], kEpisodes * share);
    near(any[image], kEpisodes * share * 3);
  }
  EXPECT_EQ(pairs.size(), 30);
  for (const auto& [pair, count] : pairs) {
    EXPECT_NEAR(count, kEpisodes / 30.0, 5 * std::sqrt(kEpisodes / 30.0));
  }
}

TEST(EpisodeTest, SmallClassesRepeatTheirImagesInTurn) {
  const ImageList list = MakeList(1, 3);
  const EpisodeShape shape{1, 2, 5, /*repeat_images=*/true};
  const Episode episode = DrawEpisode(list, shape, 1, 2, 3);
  ASSERT_EQ(episode.images.size(), 7);
  EXPECT_EQ(std::set<int64_t>(episode.images.begin(), episode.images.begin() + 3).size(), 3);
  for (int i = 3; i < 7; ++i) EXPECT_EQ(episode.images[i], episode.images[i - 3]);
}

TEST(EpisodeDeathTest, TooFewImagesAreAProgrammersError) {
  const ImageList list = MakeList(1, 3);
  EXPECT_DEATH(DrawEpisode(list, EpisodeShape{1, 2, 5}, 1, 2, 3), "CheckClasses was called");
  EXPECT_EQ(DrawEpisode(list, EpisodeShape{1, 1, 2}, 1, 2, 3).images.size(), 3);
}

TEST(DomainPairTest, TwoDifferentDomainsEvenly) {
  std::map<std::pair<int, int>, int> counts;
  constexpr int kEpochs = 12000;
  for (int epoch = 0; epoch < kEpochs; ++epoch) {
    const DomainPair pair = DrawDomainPair(9, epoch, 4);
    EXPECT_NE(pair.seen, pair.unseen);
    EXPECT_EQ(pair.seen, DrawDomainPair(9, epoch, 4).seen);
    ++counts[{pair.seen, pair.unseen}];
  }
  ASSERT_EQ(counts.size(), 12);
  for (const auto& [pair, count] : counts) EXPECT_NEAR(count, 1000, 5 * std::sqrt(1000));
}

}  // namespace
}  // namespace evograd
